"""The examination as a whole: side by side, cut at its limit, milder on somebody's machine."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from chainsight.config import RunConfig
from chainsight.doctor import Check, examine
from chainsight.doctor.check import fail, ok, told
from chainsight.doctor.finished import finished, unless_finished
from chainsight.doctor.probes import Probe, side_by_side
from chainsight.errors import ConfigError, StoreError
from chainsight.job import job
from chainsight.runner import execute
from chainsight.stages import STAGES
from chainsight.store import LocalStore

World = Any
BARS: dict[str, Any] = {
    "examples": [{"dataset": "bars", "limit": 6}],
    "benchmarks": [{"dataset": "bars", "split": "test", "limit": 4}],
}


def levels(checks: list[Check]) -> dict[str, str]:
    return {check.what: check.level for check in checks}


def troubles(world: World) -> list[tuple[str, str]]:
    return [(check.what, check.level) for check in world.findings() if check.level != "ok"]


def test_probes_look_side_by_side_and_their_findings_keep_the_order() -> None:
    together = threading.Barrier(8, timeout=20)

    def look(what: str) -> Iterator[Check]:
        together.wait()  # which one after the other never passes
        yield ok(what, "fine")

    probes = [Probe(name, partial(look, name)) for name in "abcdefgh"]
    assert [check.what for check in side_by_side(probes)] == list("abcdefgh")


def test_a_probe_that_hangs_is_cut_and_the_others_are_told() -> None:
    forever = threading.Event()

    def hang() -> Iterator[Check]:
        forever.wait()
        yield ok("late", "never")

    probes = [Probe("late", hang), Probe("quick", lambda: [ok("quick", "fine")])]
    late, quick = side_by_side(probes, deadline_seconds=1)
    forever.set()
    assert (late.level, late.finding) == ("fail", "no answer within 1 s")
    assert "check the address" in late.way_out
    assert quick.level == "ok"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_probe_is_no_finding() -> None:
    def broken() -> Iterator[Check]:
        yield ok("x", str(1 / 0))

    with pytest.raises(RuntimeError, match="looking at x broke"):
        side_by_side([Probe("x", broken)])


def test_a_warning_without_a_way_out_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Check("store", "warn", "it is strange")


def test_an_errors_last_clause_is_its_way_out() -> None:
    check = told("store", StoreError("s3://b: denied (403; no); ask its owner"))
    assert (check.finding, check.way_out) == ("s3://b: denied (403; no)", "ask its owner")
    assert told("store", ConfigError("give a folder")).way_out == "correct the configuration"


def test_the_embedded_default_is_sound_and_leaves_nothing_behind(tmp_path: Any) -> None:
    home = tmp_path / "home"
    config = RunConfig.model_validate(
        {"run": {"home": str(home)}, "prepare": BARS, "distill": {"teacher": "scripted"}}
    )
    checks = examine(config)
    assert {check.level for check in checks} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_what_a_laptop_lacks_is_a_warning_there_and_a_failure_in_a_pod(world: World) -> None:
    world.in_a_pod()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"):
        world.environment.delenv(name)
    assert troubles(world) == [("store", "fail"), ("teacher", "fail")]
    world.where = "here"
    found = troubles(world)
    assert ("store", "warn") in found
    assert ("teacher", "warn") in found
    assert "fail" not in dict(found).values()


def test_a_task_is_not_asked_for_packages_or_a_gpu(world: World) -> None:
    world.set("model.dtype", "bfloat16")
    assert {"packages", "gpu"}.isdisjoint(levels(world.findings()))


def test_addresses_inside_a_cluster_are_not_asked_from_a_laptop(world: World) -> None:
    world.where = "here"
    world.set("run.tracking_uri", "http://mlflow.team.svc:5000")
    world.set("distill.teacher", "http://vllm.team.svc.cluster.local:8000/v1")
    assert [one for one in troubles(world) if one[0] in ("teacher", "tracking")] == [
        ("teacher", "warn"),
        ("tracking", "warn"),
    ]


def test_folders_that_only_one_pod_sees_are_a_warning_in_a_pod(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(path.is_mount() for path in world.folder.parents[:-1]):
        pytest.skip("the folder of the tests is a mounted volume itself")
    world.where = "pod"
    world.set("run.tracking_uri", f"sqlite:///{world.folder}/mlflow.db")
    assert troubles(world) == [("store", "warn"), ("tracking", "warn")]


def test_training_space_grows_with_the_base_model(world: World) -> None:
    world.where = "here"
    weights = world.folder / "base" / "model-00001-of-00002.safetensors"
    world.free_bytes = 10**9 + 8 * weights.stat().st_size  # of two equal files
    (check,) = [check for check in world.findings() if check.what == "disk"]
    assert check.level == "warn"
    assert "training wants about" in check.finding


def test_a_teacher_without_a_ceiling_is_a_warning(world: World) -> None:
    world.set("distill.budget_usd", None)
    assert troubles(world) == [("budget", "warn")]


def test_what_only_finished_stages_need_is_a_warning(tmp_path: Any) -> None:
    """A run that is taken up again: its rationales are paid for, its teacher is away."""
    config = RunConfig.model_validate(
        {
            "run": {"home": str(tmp_path), "tracking_uri": "none"},
            "prepare": BARS,
            "distill": {"teacher": "scripted"},
        }
    )
    away = [fail("teacher", "cannot be reached", "start it"), fail("disk", "full", "make room")]
    assert unless_finished(away, config) == away
    uris = {}
    for stage in ("prepare", "distill"):
        inputs = {kind: uris[kind] for kind in STAGES[stage].inputs}
        done = execute(
            job(stage, config.section(stage), run=config.run, model=config.model, inputs=inputs)
        )
        store = LocalStore(tmp_path / "store")
        uris = {kind: store.artifact_uri(kind, m.key) for kind, m in done.outputs.items()}
        assert finished(config) == set(list(STAGES)[: list(STAGES).index(stage) + 1])
    teacher, disk = unless_finished(away, config)
    assert (teacher.level, disk.level) == ("warn", "fail")
    assert "distill is finished and will be reused; to run it anew: start it" in teacher.way_out


def test_images_and_cluster_are_looked_at_only_when_asked(tmp_path: Any) -> None:
    config = RunConfig.model_validate({"run": {"home": str(tmp_path)}, "prepare": BARS})
    assert {"images", "cluster"}.isdisjoint(levels(examine(config)))
    tagged = examine(config, images={"sft": "sft:1"})
    assert levels(tagged)["images"] == "fail"
