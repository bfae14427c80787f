"""aligned, predictions, scores -> decision: the gate, and a model version by reference.

The version is registered whatever the gate says; only one that passes gets the alias
`challenger`. Files are not copied: the version points at the artifact in the store.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chainsight import records
from chainsight.config import RegisterSection
from chainsight.context import Context
from chainsight.errors import ConfigError, RecordError
from chainsight.gate import Decision, Results, decide, paired_p_value
from chainsight.records import Prediction
from chainsight.tracking import (
    CHALLENGER,
    CHAMPION,
    CONTENT_DIGEST,
    DECISION,
    FINGERPRINT,
    GATE,
    PREDICTIONS_URI,
    Registry,
    Version,
)

__all__ = ["Decision", "Results", "decide", "paired_p_value", "run"]

CANDIDATE = "aligned"
"""The model in `predictions` that is up for registration."""


def fingerprint(config: RegisterSection, context: Context) -> str:  # noqa: ARG001
    """The registry's address: another registry has not seen the model."""
    return context.tracking_uri or ""


def run(
    config: RegisterSection,
    *,
    aligned: Path,  # noqa: ARG001 - registered by reference; evaluate has verified its weights
    predictions: Path,
    scores: Path,
    decision: Path,
    context: Context,
) -> dict[str, float]:
    """Judge the aligned model, register it, set its aliases.

    Raises:
        ConfigError: the gate's mode was not evaluated, or there is no registry address.
        TrackingError: the registry cannot be reached or refuses.
    """
    if context.tracking_uri is None:
        raise ConfigError("register needs MLflow; set run.tracking_uri or MLFLOW_TRACKING_URI")
    summary = _read_summary(scores)
    digest = context.manifest(context.inputs["aligned"]).content_digest
    rows = _row_scores(predictions, CANDIDATE, config.gate.mode)
    if not rows:
        raise ConfigError(
            f"register.gate.mode is {config.gate.mode}, but {CANDIDATE!r} was not asked so; add "
            "it to evaluate.modes or change register.gate.mode"
        )
    candidate = Results(summary["fingerprint"], rows, digest)
    registry = Registry(context.tracking_uri)
    known = registry.find(config.model_name, CONTENT_DIGEST, digest)
    champion = registry.by_alias(config.model_name, CHAMPION)
    verdict = _finished(known, config, context)
    if verdict is None:
        against = _champion_results(champion, predictions, summary, config, context)
        verdict = decide(candidate, against, config.gate)
    if known is not None and champion is not None and known.number == champion.number:
        version = known  # its record is what its users rely on: left as it is
    else:
        tags = _tags(verdict, summary, digest, config, context)
        version = _register(registry, known, tags, verdict, config=config, context=context)
        _log_metrics(registry, version, verdict, summary)
    _set_aliases(registry, version, verdict, champion, config)
    _write(decision, version, verdict, registry, candidate)
    return _metrics(version, verdict)


def _read_summary(scores: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((scores / "summary.json").read_text(encoding="utf-8"))
    return loaded


def _row_scores(predictions: Path, model: str, mode: str) -> dict[str, float]:
    rows = records.read(predictions / "predictions.parquet", Prediction)
    return {row.example_id: row.score for row in rows if (row.model, row.mode) == (model, mode)}


def _finished(known: Version | None, config: RegisterSection, context: Context) -> Decision | None:
    """The decision of a killed earlier try at this very registration, if there was one."""
    if known is None or known.tags.get(PREDICTIONS_URI) != context.inputs["predictions"]:
        return None
    recorded = json.loads(known.tags.get(DECISION, "{}"))
    same_gate = recorded.get("gate") == config.gate.model_dump(mode="json")
    return Decision(**recorded["decision"]) if same_gate else None


def _champion_results(
    champion: Version | None,
    predictions: Path,
    summary: Mapping[str, Any],
    config: RegisterSection,
    context: Context,
) -> Results | None:
    """The champion's rows: of this evaluation if it took part, else those it registered with."""
    if champion is None:
        return None
    mode, digest = config.gate.mode, champion.tags.get(CONTENT_DIGEST, "")
    for name, other in summary.get("digests", {}).items():
        if other == digest and name != CANDIDATE:
            return Results(summary["fingerprint"], _row_scores(predictions, name, mode), digest)
    missing = [t for t in (PREDICTIONS_URI, FINGERPRINT) if t not in champion.tags]
    if missing:
        raise RecordError(
            f"champion {champion.uri} has no tag {missing[0]}, so there is nothing to compare "
            "with; evaluate it by adding it to evaluate.models, or move the alias champion"
        )
    rows = _row_scores(context.fetch(champion.tags[PREDICTIONS_URI]), CANDIDATE, mode)
    return Results(champion.tags[FINGERPRINT], rows, digest)


def _tags(
    verdict: Decision,
    summary: Mapping[str, Any],
    digest: str,
    config: RegisterSection,
    context: Context,
) -> dict[str, str]:
    """What a version says of itself: content, lineage, scores and the gate's decision."""
    decided = {"gate": config.gate.model_dump(mode="json"), "decision": asdict(verdict)}
    return {
        CONTENT_DIGEST: digest,
        FINGERPRINT: summary["fingerprint"],
        DECISION: json.dumps(decided, sort_keys=True),
        GATE: "passed" if verdict.passed else "refused",
        **_lineage(context),
        **_score_tags(summary),
    }


def _register(
    registry: Registry,
    known: Version | None,
    tags: Mapping[str, str],
    verdict: Decision,
    *,
    config: RegisterSection,
    context: Context,
) -> Version:
    """The one version of this content: created, or described anew after another evaluation."""
    description = f"Gate: {verdict.reason}."
    if known is not None:
        return registry.describe(known, tags, description)
    return registry.create(
        config.model_name,
        _files_uri(context.inputs["aligned"], context),
        run_id=context.run_id,
        tags=tags,
        description=description,
    )


def _files_uri(artifact: str, context: Context) -> str:
    """Where the artifact's files lie, as a URI that MLflow can download from."""
    where = f"{artifact}/{context.manifest(artifact).attempt}"
    return where if "://" in where else "file://" + quote(where)


def _lineage(context: Context) -> dict[str, str]:
    """`chainsight.<kind>_uri` of every artifact behind the model, back to the examples."""
    found: dict[str, str] = {}
    todo = dict(context.inputs)
    while todo:
        kind, uri = todo.popitem()
        if f"chainsight.{kind}_uri" not in found:
            found[f"chainsight.{kind}_uri"] = uri
            todo |= context.manifest(uri).inputs
    return found


def _score_tags(summary: Mapping[str, Any]) -> dict[str, str]:
    modes = summary["models"].get(CANDIDATE, {})
    return {f"chainsight.{mode}_accuracy": repr(score["value"]) for mode, score in modes.items()}


def _set_aliases(
    registry: Registry,
    version: Version,
    verdict: Decision,
    champion: Version | None,
    config: RegisterSection,
) -> None:
    if not verdict.passed:
        return
    registry.set_alias(version, CHALLENGER)
    if champion is None and config.promote_first:
        registry.set_alias(version, CHAMPION)


def _log_metrics(
    registry: Registry, version: Version, verdict: Decision, summary: Mapping[str, Any]
) -> None:
    """Put the scores on the version's run, where MLflow's comparison of versions looks."""
    if not version.run_id:
        return
    values = {
        f"{mode}/{name}": float(score[name])
        for mode, score in summary["models"].get(CANDIDATE, {}).items()
        for name in ("value", "standard_error", "num_examples")
    }
    registry.log_metrics(version.run_id, values | {"gate_passed": float(verdict.passed)})


def _write(
    folder: Path, version: Version, verdict: Decision, registry: Registry, candidate: Results
) -> None:
    aliases = [
        a for a, number in registry.aliases(version.name).items() if number == version.number
    ]
    content = {
        "name": version.name,
        "version": version.number,
        "aliases": sorted(aliases),
        "content_digest": candidate.digest,
        "fingerprint": candidate.fingerprint,
        **asdict(verdict),
    }
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    (folder / "decision.json").write_text(text, encoding="utf-8")


def _metrics(version: Version, verdict: Decision) -> dict[str, float]:
    figures = {
        "passed": float(verdict.passed),
        "version": float(version.number),
        "candidate_value": verdict.candidate_value,
        "champion_value": verdict.champion_value,
        "gain": verdict.gain,
        "p_value": verdict.p_value,
        "num_examples": float(verdict.num_examples),
        "num_wins": float(verdict.wins),
        "num_losses": float(verdict.losses),
    }
    return {name: value for name, value in figures.items() if value is not None}
