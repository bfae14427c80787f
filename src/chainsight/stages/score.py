"""benchmarks, policy -> predictions, scores: one model asked as `evaluate` asks its models.

In what it writes the model is called `model`: the same weights have the same predictions whichever
way they were made, so that ablations share them.
"""

from pathlib import Path

from chainsight.config import EvaluateSection
from chainsight.context import Context
from chainsight.evaluation import evaluate_models

NAME = "model"
"""What the one model is called in predictions and scores."""


def run(
    config: EvaluateSection,
    *,
    benchmarks: Path,
    policy: Path,
    predictions: Path,
    scores: Path,
    context: Context,
) -> dict[str, float]:
    """Evaluate the policy, or the aligned model that is given as one, and nothing beside it.

    Raises:
        RecordError: no benchmark row.
        CheckpointError: the model is damaged.
    """
    return evaluate_models(
        {NAME: policy},
        benchmarks=benchmarks,
        predictions=predictions,
        scores=scores,
        config=config,
        context=context,
    )
