"""The chart as helm renders it, in pieces that tests can ask about."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "k8s" / "chainsight"
RIGHT = tuple(sorted(p.stem for p in (CHART / "ci").glob("*.yaml") if "wrong" not in p.stem))
"""The values files that must render: default, all-on, one per cloud."""
WRONG = tuple(sorted(p.stem for p in (CHART / "ci").glob("wrong-*.yaml")))
"""Those that must not; the first comment is a pattern that the message matches."""
RELEASE, NAMESPACE = "cs", "runs"
LONG_RELEASE = "a-release-name-of-fifty-three-characters-is-the-limit"
"""Helm takes no longer one."""
DIGEST = "sha256:" + "7" * 64
IMAGES = tuple(
    name
    for name, image in yaml.safe_load((CHART / "values.yaml").read_text())["images"].items()
    if isinstance(image, dict)
)
DIGESTS = tuple(f"images.{name}.digest={DIGEST}" for name in IMAGES)
TAGS = tuple(f"images.{name}.tag=1.2.3" for name in IMAGES)
NO_DIGESTS = ("images.requireDigests=false", *(f"images.{name}.digest=" for name in IMAGES))
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """One object of a release."""

    body: Body
    source: str
    """The template that it came from."""

    @property
    def kind(self) -> str:
        """`Deployment`, say."""
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        """Its metadata.name."""
        return str(self.body["metadata"]["name"])

    @property
    def component(self) -> str:
        """Which part of the chart it belongs to."""
        return str(self.labels.get("app.kubernetes.io/component", ""))

    @property
    def labels(self) -> Body:
        """Its own labels."""
        return self.body["metadata"].get("labels") or {}

    @property
    def annotations(self) -> Body:
        """Its own annotations."""
        return self.body["metadata"].get("annotations") or {}

    @property
    def hooks(self) -> set[str]:
        """The moments at which helm makes it; empty for what belongs to the release."""
        text = self.annotations.get("helm.sh/hook", "")
        return {hook.strip() for hook in text.split(",") if hook.strip()}

    @property
    def weight(self) -> int:
        """Its place among the hooks of one moment."""
        return int(self.annotations.get("helm.sh/hook-weight", "0"))

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Pod:
    """A pod template, whoever owns it."""

    owner: Rendered
    labels: Body
    spec: Body

    @property
    def containers(self) -> list[Body]:
        """First the init containers."""
        return [*(self.spec.get("initContainers") or ()), *(self.spec.get("containers") or ())]


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Call helm: $HELM, or the one in PATH; without one the test is skipped.

    `make chart` sets HELM, and a HELM that cannot be run is an error.
    """
    program = os.environ.get("HELM") or shutil.which("helm")
    if not program:
        pytest.skip("needs helm: `make chart` fetches one")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def template(
    *values: str, release: str = RELEASE, sets: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """Render with values files of ci/ and settings (`a.b=c`; `a.b:=JSON`)."""
    files = [argument for name in values for argument in ("-f", str(CHART / f"ci/{name}.yaml"))]
    settings = []
    for setting in sets:
        key, json, value = setting.partition(":=")
        settings += ["--set-json", f"{key}={value}"] if json else ["--set", setting]
    return helm("template", release, str(CHART), "--namespace", NAMESPACE, *files, *settings)


@functools.cache
def render(
    *values: str, release: str = RELEASE, sets: tuple[str, ...] = ()
) -> tuple[Rendered, ...]:
    """The objects of a release; each values file is rendered once a test run."""
    done = template(*values, release=release, sets=sets)
    assert done.returncode == 0, done.stderr
    return tuple(_objects(done.stdout))


def _objects(text: str) -> Iterator[Rendered]:
    """Documents begin with helm's comment on their template."""
    for document in text.split("\n---\n"):
        body = yaml.safe_load(document)
        if body:
            marked = [line for line in document.splitlines() if line.startswith("# Source: ")]
            yield Rendered(body, marked[0].removeprefix("# Source: ") if marked else "")


def of_kind(objects: tuple[Rendered, ...], *kinds: str) -> list[Rendered]:
    """Those of some kinds."""
    return [one for one in objects if one.kind in kinds]


def the(objects: tuple[Rendered, ...], kind: str, component: str) -> Rendered:
    """The one object of a kind and component."""
    found = [one for one in objects if one.kind == kind and one.component == component]
    assert len(found) == 1, f"{kind} of {component}: {[str(one) for one in found]}"
    return found[0]


def pods(objects: tuple[Rendered, ...]) -> list[Pod]:
    """Every pod template, those of a TrainingRuntime's jobs too."""
    return [pod for one in objects for pod in _pods(one)]


def _pods(one: Rendered) -> Iterator[Pod]:
    spec = one.body.get("spec") or {}
    if one.kind == "Pod":
        yield Pod(one, one.labels, spec)
    elif one.kind == "CronJob":
        yield _pod(one, spec["jobTemplate"]["spec"]["template"])
    elif one.kind == "TrainingRuntime":
        for job in spec["template"]["spec"]["replicatedJobs"]:
            yield _pod(one, job["template"]["spec"]["template"])
    elif "template" in spec:
        yield _pod(one, spec["template"])


def _pod(owner: Rendered, template: Body) -> Pod:
    return Pod(owner, (template.get("metadata") or {}).get("labels") or {}, template["spec"])


def text(body: Any) -> str:
    """An object as YAML, to search in."""
    return yaml.safe_dump(body, width=10_000)
