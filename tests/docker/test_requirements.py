"""The locks of the images: hashed, complete, and only what a stage needs."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chainsight.stages import STAGES

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "docker" / "requirements"
CPU_STAGES = ("prepare", "distill", "pair", "register")
ENTRY = re.compile(
    r"^(?P<pin>[a-z0-9][^\n]*?) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE
)
LOCK = runpy.run_path(str(ROOT / "docker" / "lock.py"))
SERVICES = tuple(LOCK["SERVICES"])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _pins(lock: str) -> dict[str, str]:
    """Version by name."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    pins = [Requirement(found["pin"]) for found in ENTRY.finditer(text)]
    return {canonicalize_name(p.name): str(p.specifier).removeprefix("==") for p in pins}


@pytest.mark.parametrize("lock", [*STAGES, *SERVICES, "build", "torch-cuda"])
def test_every_requirement_is_one_version_with_its_hashes(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert len(lines) == len(_pins(lock)) > 0
    assert all(re.match(r"[a-z0-9-]+==\S+( ;.*)? \\$", line) for line in lines)


def test_torch_stands_in_a_lock_of_its_own() -> None:
    belongs = LOCK["ACCELERATOR_PREFIXES"]
    for stage in STAGES:
        assert not [name for name in _pins(stage) if name.startswith(belongs)], stage
    assert "torch" in _pins("torch-cuda")


def test_distill_alone_has_openai_and_gpu_stages_alone_have_transformers() -> None:
    def having(name: str) -> set[str]:
        return {stage for stage in STAGES if name in _pins(stage)}

    assert having("openai") == {"distill"}
    assert having("transformers") == set(STAGES) - set(CPU_STAGES)
    assert having("trl") == having("peft") == {"sft", "dpo"}
    assert having("matplotlib") == {"register"}
    assert having("kfp") == having("mlflow-skinny") == having("boto3") == set(STAGES)
    assert having("mlflow") == having("flask") == having("vllm") == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_lock_holds_what_pyproject_asks_for(stage: str) -> None:
    """So a requirement that was added without `make lock` is found."""
    pins = _pins(stage) | {name: version for name, version in _pins("torch-cuda").items()
                           if stage not in CPU_STAGES}  # fmt: skip
    for wanted in _wanted((*LOCK["COMMON"], *LOCK["EXTRAS"][stage])):
        name = canonicalize_name(wanted.name)
        assert name in pins, f"{name} is not in {stage}.txt: run make lock"
        assert wanted.specifier.contains(pins[name], prereleases=True), name


@pytest.mark.parametrize("service", SERVICES)
def test_the_lock_of_a_service_holds_its_extra_and_nothing_of_the_stages(service: str) -> None:
    pins = _pins(service)
    for line in PROJECT["optional-dependencies"][LOCK["SERVICES"][service]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line
    assert not set(pins) & {"kfp", "torch", "transformers", "openai", *LOCK["UNUSED"][service]}


def test_the_mlflow_server_is_as_new_as_its_clients_in_the_stages() -> None:
    clients = {_pins(stage)["mlflow-skinny"] for stage in STAGES}
    assert clients == {_pins("mlflow")["mlflow"]} == {_pins("mlflow")["mlflow-skinny"]}


def test_postgresql_is_reached_by_the_driver_that_our_addresses_name() -> None:
    """`postgresql+psycopg2://`: without the driver's name SQLAlchemy 2.1 wants psycopg 3."""
    assert "psycopg2-binary" in _pins("mlflow")
    assert "psycopg" not in _pins("mlflow")


def _wanted(extras: tuple[str, ...]) -> list[Requirement]:
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    for extra in extras:
        for line in PROJECT["optional-dependencies"][extra]:
            wanted = Requirement(line)
            found += _wanted(tuple(wanted.extras)) if wanted.name == "chainsight" else [wanted]
    return found


def test_versions_are_those_that_the_tests_run_with() -> None:
    constraints = {
        canonicalize_name(name): version
        for name, _, version in (
            line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
        )
        if version
    }
    for lock in (*STAGES, *SERVICES):
        pins = _pins(lock)
        differing = [name for name in pins if constraints.get(name, pins[name]) != pins[name]]
        assert not differing, lock


def test_all_images_have_what_the_shared_layer_holds() -> None:
    """The Dockerfile installs pair.txt in the layer below every stage."""
    shared = _pins("pair").items()
    assert all(shared <= _pins(stage).items() for stage in STAGES)


def test_the_dockerfile_the_bake_file_and_the_locks_know_the_same_images() -> None:
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    final = re.findall(r"^FROM (?:common-cpu|torch) AS (\w+)$", dockerfile, re.MULTILINE)
    bake = (ROOT / "docker/bake.hcl").read_text()
    matrix = re.findall(r"_stage = \[(.*?)\]", bake)
    built = [name.strip(' "') for group in matrix for name in group.split(",")]
    assert sorted(final) == sorted(built) == sorted(LOCK["EXTRAS"]) == sorted(STAGES)
    services = re.findall(r"^  matrix = \{ service = \[(.*?)\]", bake, re.MULTILINE)
    assert [name.strip(' "') for group in services for name in group.split(",")] == [*SERVICES]
    build = (ROOT / "docker/build.sh").read_text()
    assert re.findall(r'^services="(.*)"$', build, re.MULTILINE) == [" ".join(SERVICES)]
    for service in SERVICES:
        assert re.search(rf"^FROM base-cpu AS {service}$", dockerfile, re.MULTILINE)
        assert re.search(rf"wheels\.sh .*\b{service}\b", dockerfile)
        assert f" {service};" in (ROOT / "docker/wheelhouse.sh").read_text()
    assert runpy.run_path(str(ROOT / "docker/record.py"))["SERVICES"] == SERVICES
    assert tuple(runpy.run_path(str(ROOT / "docker/check_image.py"))["SERVICES"]) == SERVICES
    for base in re.findall(r"^ARG (BASE_\w+)=(\S+)$", dockerfile, re.MULTILINE):
        assert f'variable "{base[0]}" {{ default = "{base[1]}" }}' in bake
