"""`summary.json`: the figures of a run for machines."""

from typing import Any

from chainsight.report.data import ReportData
from chainsight.scoring import summarize


def summary(data: ReportData) -> dict[str, Any]:
    """`models.<base|policy|aligned>.<direct|cot>.{value,standard_error,num_examples}` and the rest.

    Beside them: counts, seconds and cost per stage, versions, what is missing, and
    `registered` (name, version, aliases, reason) once the model is registered.
    """
    seconds = {name: stage.seconds for name, stage in data.stages.items()}
    return {
        "run": data.name,
        "created": data.created.isoformat(timespec="seconds"),
        "models": summarize(data.scores, data.fingerprint)["models"],
        "fingerprint": data.fingerprint,
        "counts": {
            name: {k: v for k, v in stage.metrics.items() if k.startswith("num_")}
            for name, stage in data.stages.items()
        },
        "metrics": {name: dict(stage.metrics) for name, stage in data.stages.items()},
        "seconds": seconds,
        "total_seconds": sum(seconds.values()),
        "cost_usd": data.costs,
        "total_cost_usd": sum(data.costs.values()),
        "missing": list(data.missing),
        "versions": dict(data.versions),
        "registered": dict(data.decision) if data.decision else None,
    }
