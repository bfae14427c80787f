"""A stage with everything that decides its result, and the key that follows from it.

The stage key is the sha256 of (stage, code version, resolved configuration, content digests of the
inputs, fingerprint of what is read outside the store): equal keys have equal results, so a
committed artifact is reused.
Keys look at the content of inputs, not at how they were made: a changed setting that leaves
`examples` as they were pays for no rationale again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from chainsight import __version__
from chainsight.config import ModelSection, RunSection, Section, section_of, validate
from chainsight.context import Context
from chainsight.errors import ConfigError
from chainsight.progress import choose
from chainsight.stages import ALL, SERVES_AS, STAGES, Stage
from chainsight.store import Manifest, Store, held, open_store
from chainsight.vlm import files

CODE_VERSION_VARIABLE = "CHAINSIGHT_CODE_VERSION"
IMAGE_VARIABLE = "CHAINSIGHT_IMAGE"
"""Environment variable with the container image, name@digest; compiled into each task."""
PIPELINE_VARIABLE = "CHAINSIGHT_PIPELINE"
"""Environment variable with the compiled pipeline's name."""
_WITHOUT_RESULT = (
    "ablation/",
    "analysis/agreement.py",
    "analysis/calibration.py",
    "analysis/claims.py",
    "analysis/credit.py",
    "analysis/differences.py",
    "analysis/slices.py",
    "analysis/steps.py",
    "cli.py",
    "closing.py",
    "commands.py",
    "component.py",
    "config/ablate.py",
    "config/platform.py",
    "config/promotion.py",
    "console.py",
    "demo/steps.py",
    "doctor/",
    "launch/",
    "options.py",
    "progress.py",
    "promotion/",
    "pyfunc.py",
    "report/",
    "reporting.py",
    "runs.py",
    "serving/",
    "tracking/",
    "verification/",
)
"""Code that cannot change an artifact and so stays out of the code version. What else `analysis`
has is in it: the metrics of stage verify are in its manifest."""


def code_version() -> str:
    """Version and digest of the library's source; `CHAINSIGHT_CODE_VERSION` overrides it."""
    return os.environ.get(CODE_VERSION_VARIABLE) or f"{__version__}+{_source_digest()}"


@cache
def _source_digest() -> str:
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_WITHOUT_RESULT):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Job:
    """A stage with everything that decides its result."""

    stage: Stage
    config: Section
    run: RunSection
    model: ModelSection
    inputs: Mapping[str, Manifest]
    store: Store

    @property
    def work(self) -> Path:
        return Path(self.run.home) / "work"

    def context(self) -> Context:
        """The surroundings of the stage; its private work folder is created with the key."""
        return Context(
            work=self.work,
            ledger=self.work / "ledger",
            seed=self.run.seed,
            model=self.model,
            tracking_uri=self.run.mlflow_uri(),
            run=self.run.name,
            pipeline=os.environ.get(PIPELINE_VARIABLE, ""),
            inputs={
                kind: self.store.artifact_uri(m.kind, m.key) for kind, m in self.inputs.items()
            },
            fetch=self.store.fetch,
            manifest=self.store.load,
            claim=partial(held, self.store),
            shelf=self.store,
            progress=choose(),
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the stage key is made of; reads the outside world (a base model) once."""
        shared: dict[str, Any] = {"seed": self.run.seed}
        if "model" in self.stage.shared:
            digest = files.fingerprint(self.model.base, self.model.revision)
            shared["model"] = self.model.model_dump(mode="json") | {"digest": digest}
        return {
            "stage": self.stage.name,
            "code_version": code_version(),
            "config": self.config.model_dump(mode="json", by_alias=True),
            "shared": {name: shared[name] for name in self.stage.shared},
            "inputs": {kind: m.content_digest for kind, m in sorted(self.inputs.items())},
            "fingerprint": self.stage.fingerprint(self.config, self.context()),
        }

    @property
    def key(self) -> str:
        """The key of the stage's artifacts, hex sha256."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()


def job(
    stage: str,
    config: Any,
    *,
    run: Any,
    model: Any,
    inputs: Mapping[str, str | Path],
    store: Store | None = None,
) -> Job:
    """Check and resolve everything a stage needs; `inputs` maps kinds to manifests.

    A manifest is given by its file (what passes through KFP) or by its artifact's store URI.
    Numbers that KFP turned into floats become integers again here.

    Raises:
        ConfigError: unknown stage, a bad setting, a missing or superfluous input.
        StoreError: an input is not committed.
    """
    if stage not in ALL:
        raise ConfigError(f"no stage {stage!r}; the stages are {', '.join(STAGES)}")
    found = ALL[stage]
    wanted = found.inputs
    if set(inputs) != set(wanted):
        raise ConfigError(f"{stage} reads {', '.join(wanted) or 'nothing'}; got {sorted(inputs)}")
    section = section_of(found.section or stage)
    where = run if isinstance(run, RunSection) else validate(RunSection, run, "run")
    store = store or open_store(where.store_uri(), Path(where.home) / "cache")
    return Job(
        stage=found,
        config=config
        if isinstance(config, Section)
        else validate(section, config, found.section or stage),
        run=where,
        model=model if isinstance(model, ModelSection) else validate(ModelSection, model, "model"),
        inputs={kind: _manifest(store, kind, inputs[kind]) for kind in wanted},
        store=store,
    )


def _manifest(store: Store, kind: str, where: str | Path) -> Manifest:
    path = Path(where)
    if path.is_file():
        manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
    else:
        manifest = store.load(str(where))
    if manifest.kind not in SERVES_AS.get(kind, (kind,)):
        raise ConfigError(f"{where} is an artifact of kind {manifest.kind!r}, not {kind!r}")
    return manifest


def describe(job: Job) -> dict[str, Any]:
    """What the manifests of all outputs of `job` say alike."""
    identity = job.identity
    sources = identity["fingerprint"]
    named = {"sources": sources} if isinstance(sources, dict) else {}
    return {
        "stage": job.stage.name,
        "code_version": code_version(),
        "config": {"config": identity["config"], **identity["shared"], **named},
        "inputs": {k: job.store.artifact_uri(m.kind, m.key) for k, m in job.inputs.items()},
        "input_digests": identity["inputs"],
        "siblings": job.stage.outputs,
        "image": os.environ.get(IMAGE_VARIABLE, ""),
    }
