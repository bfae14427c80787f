"""The Kubeflow Pipelines API: a connection, and its refusals in words that help."""

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kfp.client import Client
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
from kfp_server_api import ApiException, V2beta1GetHealthzResponse, V2beta1Run

from chainsight.errors import ConfigError, KubeflowError

OLDEST = (2, 15)
"""The oldest server that takes our packages (KFP 2.15)."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for an answer."""
TOKEN_VARIABLE = "KFP_EXISTING_TOKEN"  # noqa: S105 - the name that kfp's own command reads
TOKEN_FILE_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - the same, for a pod's token
TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - and where that usually is
HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"
UI_VARIABLE = "KF_PIPELINES_UI_ENDPOINT"


class _Client(Client):  # type: ignore[misc]  # kfp is not typed
    """KFP's client, with the few things that it lacks."""

    def get_kfp_healthz(self, sleep_duration: int = 5) -> V2beta1GetHealthzResponse:  # noqa: ARG002
        """As KFP's, but once: not five times in 25 seconds, each with a traceback in the log."""
        return self._healthz_api.healthz_service_get_healthz(_request_timeout=TIMEOUT)

    def about(self) -> bytes:
        """The health answer as it comes: the generated model drops `tag_name`."""
        answer = self._healthz_api.healthz_service_get_healthz(
            _preload_content=False, _request_timeout=TIMEOUT
        )
        return bytes(answer.data)

    def get_run(self, run_id: str) -> V2beta1Run:
        """As KFP's, but it does not wait for ever."""
        return self._run_api.run_service_get_run(run_id=run_id, _request_timeout=TIMEOUT)

    def read_log(self, run_id: str, pod: str) -> str:
        """The log of one of the run's pods: a road of the API that was not generated."""
        answer = self._run_api.api_client.call_api(
            f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log",
            "GET",
            auth_settings=["Bearer"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=TIMEOUT,
        )
        return bytes(answer.data).decode(errors="replace")


@dataclass(frozen=True)
class Server:
    """A Kubeflow Pipelines installation that answers and is new enough."""

    client: Any
    """KFP's client; use it inside `talking`."""
    host: str
    """For messages: the address, or where it was found."""
    namespace: str | None
    """Where pipelines and runs live; none on a single-user installation."""
    ui: str
    """Address of the user interface; empty where it is unknown."""

    def run_url(self, run_id: str) -> str:
        """Where people look at a run."""
        return f"{self.ui or '(your Kubeflow UI)'}/#/runs/details/{run_id}"

    @contextmanager
    def talking(self, doing: str) -> Iterator[None]:
        """Run requests: silent on stdout, and what goes wrong ends in a `KubeflowError`.

        Args:
            doing: what is being done, for the message: "start the run".
        """
        with _quiet(), _explained(self.host, self.namespace, doing):
            yield


def connect(host: str | None = None, namespace: str | None = None) -> Server:
    """Connect by the means of KFP's own client, and check that the server is fit.

    The address is `host`, `KF_PIPELINES_ENDPOINT`, this cluster's own service or, through the
    Kubernetes API, the cluster of the kubeconfig. The token is `KFP_EXISTING_TOKEN`, else what
    kfp's context file, the pod's projected token or the kubeconfig hold.

    Raises:
        ConfigError: no address is known, or the namespace does not fit the installation.
        KubeflowError: nobody answers, the caller is not let in, or the server is too old.
    """
    given = host or os.environ.get(HOST_VARIABLE)
    shown = given or "Kubeflow Pipelines of your cluster"
    if not given and not _cluster_known():
        raise ConfigError(
            "no address of Kubeflow Pipelines: give --host URL, set "
            f"{HOST_VARIABLE}, or have a kubeconfig (KUBECONFIG, ~/.kube/config)"
        )
    with _quiet(), _explained(shown, namespace, "connect"):
        client = _Client(
            host=given,
            namespace=namespace or "kubeflow",
            existing_token=os.environ.get(TOKEN_VARIABLE),
            credentials=_token_file(),
            ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),
        )
        about = _parsed(client.about(), shown)
    _check_version(shown, about)
    _check_namespace(shown, bool(about.get("multi_user")), namespace)
    return Server(client, shown, namespace, os.environ.get(UI_VARIABLE, given or "").rstrip("/"))


def _token_file() -> ServiceAccountTokenVolumeCredentials | None:
    """The token that a pod has in a file; by itself kfp takes none where an address is given."""
    path = os.environ.get(TOKEN_FILE_VARIABLE) or TOKEN_FILE
    given = TOKEN_FILE_VARIABLE in os.environ or Path(path).exists()
    return ServiceAccountTokenVolumeCredentials(path) if given else None


def _cluster_known() -> bool:
    kubeconfig = Path("~/.kube/config").expanduser().exists() or "KUBECONFIG" in os.environ
    return kubeconfig or "KUBERNETES_SERVICE_HOST" in os.environ


def _parsed(answer: bytes, host: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise KubeflowError(
            f"{host}: answers with a web page where the API should be; most likely that is a login "
            f"page: put a token into {TOKEN_VARIABLE}, or give an address behind the login "
            "(kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888)"
        ) from None
    return about


def _check_version(host: str, about: dict[str, Any]) -> None:
    found = re.match(r"v?(\d+)\.(\d+)", str(about.get("tag_name", "")))
    if found and (int(found[1]), int(found[2])) < OLDEST:  # "unknown" in some builds: let it be
        raise KubeflowError(
            f"{host}: runs Kubeflow Pipelines {about['tag_name']}, older than "
            f"{OLDEST[0]}.{OLDEST[1]}; upgrade it, or run on this machine: chainsight run"
        )


def _check_namespace(host: str, multi_user: bool, namespace: str | None) -> None:
    if multi_user and not namespace:
        raise ConfigError(
            f"{host}: is shared by several users; say whose namespace with --namespace"
        )
    if namespace and not multi_user:
        raise ConfigError(
            f"{host}: is a single-user installation, without namespaces; leave out "
            f"--namespace {namespace}"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """KFP's client prints links and warns; stdout is for our own output."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        level = logging.getLogger("urllib3").level
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # a line for each retry
        try:
            yield
        finally:
            logging.getLogger("urllib3").setLevel(level)


@contextmanager
def _explained(host: str, namespace: str | None, doing: str) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        message = _refusal(error, host, namespace, doing)
        raise KubeflowError(message, error.status or None) from None
    except urllib3.exceptions.HTTPError as error:
        raise KubeflowError(
            f"{host}: Kubeflow Pipelines does not answer ({_cause(error)}); check the address "
            f"(--host, {HOST_VARIABLE}) and the way there, e.g. "
            "kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888 and "
            "--host http://127.0.0.1:8888",
            status=0,
        ) from None


def _refusal(error: ApiException, host: str, namespace: str | None, doing: str) -> str:
    said = _server_message(error)
    if error.status == 0:  # the generated client's word for a TLS error
        return (
            f"{host}: the connection is not trusted ({said}); if the certificate is your own "
            "authority's, name that authority's file in SSL_CERT_FILE"
        )
    if error.status == 401:
        return (
            f"{host}: does not know you (401, to {doing}): {said}; put a valid token into "
            f"{TOKEN_VARIABLE}, e.g. from kubectl create token ACCOUNT "
            f"-n {namespace or 'NAMESPACE'} --audience pipelines.kubeflow.org"
        )
    if error.status == 403:
        where = f"in namespace {namespace}" if namespace else "here"
        return (
            f"{host}: you may not {doing} {where} (403): {said}; check --namespace, or ask for "
            "the role kubeflow-pipelines-edit there"
        )
    if error.status == 404 and doing == "connect":
        return (
            f"{host}: has no v2 API (404); give the address before /apis/v2beta1 (behind "
            "Kubeflow's dashboard it ends in /pipeline), or upgrade to "
            f"{OLDEST[0]}.{OLDEST[1]} at least"
        )
    return f"{host}: refuses to {doing} ({error.status}): {said}"


def _server_message(error: ApiException) -> str:
    """What the server said, without headers and stack traces."""
    body = error.body or b""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        named = (answer.get(key) for key in ("message", "error_message", "error"))
        text = next((str(value) for value in named if value), text)
    return " ".join((text or str(error.reason)).split())[:500].rstrip(".") or "no reason given"


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason or error)
    return text.rpartition(": ")[2] or type(error).__name__
