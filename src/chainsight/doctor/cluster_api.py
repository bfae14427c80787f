"""Requests to the Kubernetes API, of which every answer is a value and no exception.

Beside `chainsight.launch` the only module that imports kubernetes. Requests are made by path, as
what the doctor wants to know of most answers is their status.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kubernetes
import urllib3
from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException

from chainsight.doctor.check import Cluster
from chainsight.errors import ConfigError

TIMEOUT_SECONDS = (5.0, 10.0)
"""To connect; to answer."""
ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Answer:
    """Status 0: nobody answered; `body` is the reason then."""

    status: int
    body: Any


class Api:
    """The cluster's API as its caller may use it, in one namespace."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self.address = str(client.configuration.host)

    def get(self, path: str, accept: str = "application/json", **query: str) -> Answer:
        return self._call("GET", path, accept, list(query.items()))

    def post(self, path: str, body: Any) -> Answer:
        return self._call("POST", path, "application/json", [], body)

    def local(self, group: str, resource: str, name: str) -> str:
        """The path of an object in the namespace."""
        return f"{group}/namespaces/{quote(self.namespace)}/{resource}/{quote(name)}"

    def _call(
        self, method: str, path: str, accept: str, query: list[tuple[str, str]], body: Any = None
    ) -> Answer:
        try:
            reply = self._client.call_api(
                path,
                method,
                query_params=query,
                header_params={"Accept": accept, "Content-Type": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=False,
                _request_timeout=TIMEOUT_SECONDS,
            )
        except ApiException as error:
            return Answer(int(error.status or 0), _said(error.body) or error.reason)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer(0, str(error))
        return Answer(int(reply[1]), reply[0])


def connect(access: Cluster) -> Api:
    """The API of a cluster; nothing is asked yet.

    Raises:
        ConfigError: no service account and no kubeconfig that can be used.
    """
    try:
        return _connect(access)
    except (ConfigException, OSError) as error:
        raise ConfigError(
            f"no way to a cluster ({error}); give --kubeconfig FILE, or run this in a pod with a "
            "service account"
        ) from None


def _connect(access: Cluster) -> Api:
    if access.api is not None:
        return Api(access.api, access.namespace or "default")
    settings = kubernetes.client.Configuration()
    settings.retries = 1
    if access.kubeconfig is None and ACCOUNT_NAMESPACE.is_file():
        kubernetes.config.load_incluster_config(settings)
        here = ACCOUNT_NAMESPACE.read_text(encoding="ascii").strip()
    else:
        file = str(access.kubeconfig) if access.kubeconfig else None
        kubernetes.config.load_kube_config(file, client_configuration=settings)
        active = kubernetes.config.list_kube_config_contexts(file)[1]
        here = active["context"].get("namespace", "default")
    return Api(ApiClient(settings), access.namespace or here)


def _said(body: Any) -> str:
    """The message of an API error."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return ""
