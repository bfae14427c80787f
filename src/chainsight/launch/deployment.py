"""The serving Deployment in Kubernetes: look at it, and tell it another version."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException

from chainsight.errors import LaunchError
from chainsight.launch.cluster import credentials
from chainsight.launch.served import CONTAINERS, Served, ready_patch, rolling_patch, served_by

RULES = (("apps", "deployments", "get, patch"), ('""', "pods", "list"))
"""What the reconciler's service account has to be allowed: API group, resource, verbs."""
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_CONFLICT = 409


class Deployment:
    """One Deployment of this namespace (a `chainsight.promotion.rollout.Rollout`)."""

    def __init__(
        self,
        configuration: Any,
        namespace: str,
        name: str,
        model: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        configuration.retries = False  # the next look asks again
        client = kubernetes.client.ApiClient(configuration)
        self._apps = kubernetes.client.AppsV1Api(client)
        patching = kubernetes.client.ApiClient(configuration)
        patching.set_default_header("Content-Type", "application/strategic-merge-patch+json")
        self._patching = kubernetes.client.AppsV1Api(patching)
        self._core = kubernetes.client.CoreV1Api(client)
        self._namespace, self._name, self._now = namespace, name, now
        self._model = f"models:/{model}"

    @classmethod
    def connect(cls, name: str, model: str) -> "Deployment":
        """As the pod's service account, else as the kubeconfig says.

        Raises:
            LaunchError: there is neither.
        """
        wish = f"promotion.deployment is {name}"
        return cls(*credentials(wish, otherwise="leave the setting out"), name, model)

    def look(self) -> Served:
        """What it serves, and how far its rollout is; LaunchError if the API refuses or is away."""
        found = self._get()
        pods = [] if served_by(found, (), self._now()).ready else self._pods(found)
        return served_by(found, pods, self._now())

    def roll(self, version: int, last_ready: int | None) -> bool:
        """Tell its containers another version; False when somebody else has changed it meanwhile.

        Raises:
            LaunchError: the API refuses or is away, or no container is to be told.
        """
        found = self._get()
        patch = rolling_patch(found, self._model, version, last_ready, self._now())
        if not patch["spec"]["template"]["spec"]:
            raise LaunchError(
                f"Deployment {self._name} has no container named {' or '.join(CONTAINERS)}, so "
                "nobody can be told which model to serve; correct promotion.deployment"
            )
        return self._patch(patch)

    def confirm(self, version: int) -> bool:
        """Note that `version` was ready; returns and raises as `roll`."""
        return self._patch(ready_patch(self._get(), version))

    def _patch(self, patch: dict[str, Any]) -> bool:
        try:
            self._ask(
                self._patching.patch_namespaced_deployment,
                self._name,
                self._namespace,
                patch,
                what=("patch", "deployments"),
            )
        except _OvertakenError:
            return False
        return True

    def _get(self) -> dict[str, Any]:
        return self._ask(
            self._apps.read_namespaced_deployment,
            self._name,
            self._namespace,
            what=("get", "deployments"),
        )

    def _pods(self, deployment: dict[str, Any]) -> list[dict[str, Any]]:
        labels = deployment["spec"]["selector"].get("matchLabels") or {}
        listed = self._ask(
            self._core.list_namespaced_pod,
            self._namespace,
            label_selector=",".join(f"{name}={value}" for name, value in labels.items()),
            what=("list", "pods"),
        )
        found: list[dict[str, Any]] = listed["items"]
        return found

    def _ask(
        self, request: Callable[..., Any], *args: Any, what: tuple[str, str], **options: Any
    ) -> dict[str, Any]:
        verb, resource = what
        where = f"cannot {verb} {resource} in namespace {self._namespace}"
        timeout = (_CONNECT_SECONDS, _READ_SECONDS)
        try:
            response = request(*args, _preload_content=False, _request_timeout=timeout, **options)
        except ApiException as error:
            if error.status == _CONFLICT:
                raise _OvertakenError(where) from error
            raise LaunchError(f"{where}: {_explained(error, resource, self._name)}") from error
        except urllib3.exceptions.HTTPError as error:
            raise LaunchError(f"{where}: the Kubernetes API is away ({error})") from error
        try:
            found: dict[str, Any] = json.loads(response.data)
        except ValueError as error:
            raise LaunchError(f"{where}: the answer is no JSON; is a proxy between?") from error
        return found


class _OvertakenError(LaunchError):
    """Somebody else has changed the Deployment since it was looked at."""


def _explained(error: ApiException, resource: str, name: str) -> str:
    try:
        said = str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, KeyError):
        said = str(error.reason or error.body or "").strip()
    if error.status == 403:
        group, verbs = next((group, verbs) for group, what, verbs in RULES if what == resource)
        return (
            f"not allowed; add to the Role of the reconciler's service account: apiGroups "
            f"[{group}], resources [{resource}], verbs [{verbs}]; the API says: {said}"
        )
    if error.status == 404:
        return f"there is no Deployment {name}; correct promotion.deployment (the API: {said})"
    if error.status == 401:
        return (
            "the API does not know this service account (401); its token has expired or is not "
            f"mounted (automountServiceAccountToken); the API says: {said}"
        )
    return f"{error.status}: {said}"
