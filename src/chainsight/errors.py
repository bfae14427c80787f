"""Errors a user can act on: each message names the thing, the bound it broke and the way out.

Everything here derives from `ChainsightError`, a `ValueError`: the command line prints the
message alone and exits with `exit_code`; any other exception is a bug and keeps its traceback.
"""


class ChainsightError(ValueError):
    """The run failed for a reason that the user can mend (exit code 1)."""

    exit_code = 1


class ConfigError(ChainsightError):
    """The call or the configuration is wrong (exit code 2)."""

    exit_code = 2


class RecordError(ChainsightError):
    """A stored or incoming row is not what its record type says."""


class StoreError(ChainsightError):
    """An artifact is missing, damaged, or its store cannot keep the commit protocol."""


class ArtifactError(StoreError):
    """The store answers, but this artifact is missing, damaged, or of another store."""


class CheckpointError(ChainsightError):
    """A model checkpoint is incomplete, damaged or of a refused format."""


class TeacherError(ChainsightError):
    """The teacher cannot be reached, refuses the key, or would cost more than allowed."""


class QuarantineError(ChainsightError):
    """More rows were set aside than the configuration allows."""


class NoPairsError(ChainsightError):
    """No question gave a right and a wrong chain inside the accuracy band."""


class TrackingError(ChainsightError):
    """MLflow cannot be reached or refuses, where its answer is needed."""


class PromotionError(ChainsightError):
    """A promotion cannot be made, or the log of promotions is damaged."""


class LaunchError(ChainsightError):
    """The processes of a training cannot be started, or ended badly."""


class KubeflowError(ChainsightError):
    """Kubeflow Pipelines cannot be reached, refuses, or is too old."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the refusal; 0 when nobody answered."""
