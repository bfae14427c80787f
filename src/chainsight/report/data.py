"""What a report shows, read from the artifacts of the finished stages."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from chainsight import __version__, records
from chainsight.config import PromptStyle
from chainsight.records import MODES, Score
from chainsight.report.answers import Answers, collect_answers
from chainsight.report.changes import Change, changes
from chainsight.report.evidence import Evidence, collect_evidence
from chainsight.report.exercises import Exercises, Rules, choose_exercises, verdicts
from chainsight.report.flow import Flow, flows
from chainsight.report.samples import Samples, choose_samples, ends
from chainsight.report.sizes import Sizes, datasets, scores_by_voice, sizes
from chainsight.stages import STAGES

LIBRARIES = ("torch", "transformers", "trl", "mlflow", "kfp")
CURVES = {"policy": "sft", "aligned": "dpo"}
"""Artifacts with a `history.jsonl`, and the stage that wrote it."""


@dataclass(frozen=True)
class StageResult:
    """A finished stage: its manifest's figures and the local folders of its artifacts."""

    name: str
    metrics: Mapping[str, float]
    seconds: float
    reused: bool
    folders: Mapping[str, Path]
    """By artifact kind."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The stage's resolved section."""
    code_version: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    """The resolved section `model`."""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page."""

    name: str
    created: datetime
    versions: Mapping[str, str]
    stages: Mapping[str, StageResult]
    scores: tuple[Score, ...] = ()
    fingerprint: str = ""
    prompt_style: PromptStyle = "paper"
    """Whose words the models were asked in."""
    curves: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)
    """By stage: one entry a logged step, with `step` and what was measured."""
    flows: tuple[Flow, ...] = ()
    accuracies: tuple[float, ...] = ()
    """Share of right candidates, one value a sampled question."""
    num_candidates: int = 0
    """Most candidates that a question has."""
    changes: tuple[Change, ...] = ()
    """Of the model at the end against the one before and the base, in each mode."""
    sizes: Sizes = field(default_factory=Sizes)
    samples: Samples | None = None
    """Held-out questions."""
    exercises: Exercises = field(default_factory=Exercises)
    """Training questions."""
    answers: Answers | None = None
    """The teacher's."""
    evidence: Evidence | None = None
    """What the models' answers prove of each other."""
    decision: Mapping[str, Any] | None = None
    """What `register` wrote."""

    @cached_property
    def base(self) -> str:
        """The model that was trained; "": not known."""
        named = (stage.model.get("base") for stage in self.stages.values())
        return str(next((name for name in named if name), ""))

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Stages that have not finished, in order."""
        return tuple(name for name in STAGES if name not in self.stages)

    @cached_property
    def costs(self) -> dict[str, float]:
        """In US dollars by stage, with what a distillation that stopped has paid so far."""
        paid = {name: stage.metrics.get("cost_usd", 0.0) for name, stage in self.stages.items()}
        if self.answers:
            paid.setdefault("distill", self.answers.cost_usd)
        return paid


def collect(
    name: str,
    stages: Mapping[str, StageResult],
    *,
    created: datetime | None = None,
    stopped: Path | None = None,
) -> ReportData:
    """Gather what the finished stages left behind.

    Args:
        name: the run's.
        stages: the finished ones.
        created: the moment of the report; none: now.
        stopped: where an unfinished `distill` left the answers that came.

    Raises:
        RecordError: an artifact's rows cannot be read.
    """
    folders = {kind: path for stage in stages.values() for kind, path in stage.folders.items()}
    ordered = {stage: stages[stage] for stage in STAGES if stage in stages}
    summary = _json(folders, "scores", "summary.json") or {}
    rights = verdicts(folders)
    rules = Rules(_band(ordered), _section(ordered, "dpo").get("max_words"))
    return ReportData(
        name=name,
        created=created or datetime.now(UTC),
        versions=_versions(ordered),
        stages=ordered,
        scores=tuple(_scores(folders)),
        fingerprint=str(summary.get("fingerprint", "")),
        prompt_style=summary.get("prompt_style", "paper"),
        curves={
            stage: _history(folders[kind]) for kind, stage in CURVES.items() if kind in folders
        },
        flows=flows({n: stage.metrics for n, stage in ordered.items()}, folders),
        accuracies=tuple(sum(right) / len(right) for right in rights.values()),
        num_candidates=max(map(len, rights.values()), default=0),
        changes=_changes(folders),
        sizes=sizes(folders),
        samples=choose_samples(folders),
        exercises=choose_exercises(folders, rights, rules),
        answers=collect_answers(folders, _metrics(ordered, "distill"), stopped),
        evidence=collect_evidence(folders),
        decision=_json(folders, "decision", "decision.json"),
    )


def _metrics(stages: Mapping[str, StageResult], name: str) -> Mapping[str, float]:
    return stages[name].metrics if name in stages else {}


def _versions(stages: Mapping[str, StageResult]) -> dict[str, str]:
    found = {"chainsight": __version__, "python": platform.python_version()}
    code = {stage.code_version for stage in stages.values() if stage.code_version}
    if code:
        found["chainsight"] = ", ".join(sorted(code))
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:  # each image has only what its stage needs
            continue
    return found


def _json(folders: Mapping[str, Path], kind: str, name: str) -> dict[str, Any] | None:
    if kind not in folders or not (folders[kind] / name).is_file():
        return None
    content: dict[str, Any] = json.loads((folders[kind] / name).read_text(encoding="utf-8"))
    return content


def _scores(folders: Mapping[str, Path]) -> list[Score]:
    if "scores" not in folders:
        return []
    return list(records.read(folders["scores"] / "scores.parquet", Score))


def _history(folder: Path) -> tuple[Mapping[str, float], ...]:
    path = folder / "history.jsonl"
    if not path.is_file():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def _changes(folders: Mapping[str, Path]) -> tuple[Change, ...]:
    """Base and the model before against the one after."""
    scores = scores_by_voice(folders)
    models = list(dict.fromkeys(model for model, _ in scores))
    if len(models) < 2:
        return ()
    before, after = ends(models)
    others = dict.fromkeys(name for name in ("base", before) if name in models and name != after)
    return changes(scores, [(after, other) for other in others], MODES, datasets(folders))


def _section(stages: Mapping[str, StageResult], name: str) -> Mapping[str, Any]:
    return stages[name].config if name in stages else {}


def _band(stages: Mapping[str, StageResult]) -> tuple[float, float] | None:
    config = _section(stages, "pair")
    if "min_accuracy" not in config:
        return None
    return float(config["min_accuracy"]), float(config["max_accuracy"])
