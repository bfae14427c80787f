"""MLflow: runs for stages, versions for models. The only package that imports mlflow.

Tracking is best effort: with MLflow away the stage's work goes on and one warning says so. The
registry is not: a model that cannot be registered is an error (`TrackingError`).
"""

from chainsight.tracking.connection import NO_TRACKING
from chainsight.tracking.registry import (
    ALIGNED_URI,
    CHALLENGER,
    CHAMPION,
    CONTENT_DIGEST,
    DECISION,
    FINGERPRINT,
    GATE,
    OVERRIDE,
    PREDICTIONS_URI,
    PREVIOUS,
    PROMOTER,
    Registry,
    Version,
)
from chainsight.tracking.runs import PARENT_VARIABLE, Run, Tracking, attach

__all__ = [
    "ALIGNED_URI",
    "CHALLENGER",
    "CHAMPION",
    "CONTENT_DIGEST",
    "DECISION",
    "FINGERPRINT",
    "GATE",
    "NO_TRACKING",
    "OVERRIDE",
    "PARENT_VARIABLE",
    "PREDICTIONS_URI",
    "PREVIOUS",
    "PROMOTER",
    "Registry",
    "Run",
    "Tracking",
    "Version",
    "attach",
]
