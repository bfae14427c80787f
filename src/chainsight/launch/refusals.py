"""What the Kubernetes API means when it says no, and the way out, in a sentence."""

import json
from typing import Protocol

from chainsight.errors import LaunchError

RULES = (
    ("trainer.kubeflow.org", "trainjobs", "create, get, list, watch, delete"),
    ('""', "pods", "get, list"),
    ('""', "pods/log", "get"),
    ('""', "events", "list"),
)
"""What the launcher's service account has to be allowed: API group, resource, verbs."""


class ApiException(Protocol):
    """What the client raises (`kubernetes.client.ApiException`)."""

    status: int | None
    reason: str | None
    body: str | None


class RefusalError(LaunchError):
    """The API's answer to one request was no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class MissingError(RefusalError):
    """There is no such object (its kind is known)."""


def refusal(error: ApiException, what: tuple[str, str], namespace: str) -> RefusalError:
    """What the API's answer to one request means: `what` is its verb and resource."""
    verb, resource = what
    message, is_status = _message(error)
    status = int(error.status or 0)
    if status == 404 and is_status:
        return MissingError(f"cannot {verb} {resource} in namespace {namespace}: {message}", status)
    return RefusalError(_explained(status, verb, resource, namespace, message), status)


def _message(error: ApiException) -> tuple[str, bool]:
    """The API's own words, and whether they are of its Status object."""
    try:
        status = json.loads(error.body or "")
        return str(status["message"]), True
    except (ValueError, TypeError, KeyError):
        return str(error.body or error.reason or "").strip(), False


def _explained(status: int, verb: str, resource: str, namespace: str, message: str) -> str:
    said = f"the API says: {message}"
    if status == 404:
        return (
            "this cluster knows no TrainJobs (trainer.kubeflow.org/v1alpha1): install Kubeflow "
            f"Trainer 2.3, or set platform.launcher to pod; {said}"
        )
    if status == 403 and " cannot " in message:
        group, verbs = next((g, v) for g, r, v in RULES if r == resource)
        return (
            f"not allowed to {verb} {resource} in namespace {namespace}; add to the Role of the "
            f"pipeline's service account: apiGroups [{group}], resources [{resource}], verbs "
            f"[{verbs}]; {said}"
        )
    if status == 401:
        return (
            "the API does not know this service account (401); its token has expired or is not "
            f"mounted (automountServiceAccountToken); {said}"
        )
    if status == 400 and "unknown field" in message:
        return f"this Trainer is too old or too new for Chainsight: it needs 2.3; {said}"
    if status in (400, 403, 422):
        return (
            f"the cluster refuses the {resource} ({status}), by its schema, a quota or an "
            f"admission policy: correct the platform section or the policy; {said}"
        )
    return f"cannot {verb} {resource} in namespace {namespace} ({status}); {said}"
