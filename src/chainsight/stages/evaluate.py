"""benchmarks, policy, aligned -> predictions, scores: models asked directly and for a reason.

The base model, the policy, the aligned model and the configuration's further models, all by
`chainsight.evaluation`.
"""

import json
from pathlib import Path

from chainsight.config import EvaluateSection
from chainsight.context import Context
from chainsight.errors import ConfigError
from chainsight.evaluation import evaluate_models, fill_blocks, registered

OWN_NAMES = ("base", "policy", "aligned")


def fingerprint(config: EvaluateSection, context: Context) -> str:
    """Digests of the further models; `policy` already depends on the base model."""
    if not config.models:
        return ""
    from chainsight.vlm import checkpoint

    found = {}
    for name, ref in sorted(config.models.items()):
        if ref.startswith("models:/"):
            found[name] = str(registered(ref, context).digest)
        else:
            found[name] = checkpoint.fingerprint(ref)
    return json.dumps(found, sort_keys=True)


def run(
    config: EvaluateSection,
    *,
    benchmarks: Path,
    policy: Path,
    aligned: Path,
    predictions: Path,
    scores: Path,
    context: Context,
) -> dict[str, float]:
    """Evaluate base, policy, aligned and the configuration's further models.

    Raises:
        ConfigError: a further model has the name of one of the three.
        RecordError: no benchmark row.
        CheckpointError, TrackingError: a model is damaged or not found.
    """
    return evaluate_models(
        _models(config, policy, aligned, context),
        benchmarks=benchmarks,
        predictions=predictions,
        scores=scores,
        config=config,
        context=context,
    )


def run_shard(
    config: EvaluateSection, *, benchmarks: Path, policy: Path, aligned: Path, context: Context
) -> None:
    """Make this shard's blocks and leave them in the work folder. Raises as `run`."""
    fill_blocks(_models(config, policy, aligned, context), benchmarks, config, context)


def _models(
    config: EvaluateSection, policy: Path, aligned: Path, context: Context
) -> dict[str, str | Path]:
    taken = sorted(set(config.models) & set(OWN_NAMES))
    if taken:
        raise ConfigError(f"evaluate.models: {taken[0]!r} is the run's own model; rename yours")
    models: dict[str, str | Path] = {"base": context.model.base} if config.include_base else {}
    return models | {"policy": policy, "aligned": aligned, **config.models}
