"""A thin client of the Kubernetes API: the only module that imports `kubernetes`.

It knows the few requests that the launcher makes, repeats them while the API is away, and follows
one TrainJob through cut and expired watches.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from chainsight.errors import LaunchError
from chainsight.launch.manifest import GROUP, NODE, PLURAL, VERSION
from chainsight.launch.refusals import MissingError, RefusalError, refusal

Say = Callable[[str], None]
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
PATIENCE_SECONDS = 600.0
"""An API that is away for longer ends the launcher; the training goes on, a retry finds it."""
WATCH_SECONDS = 240
"""A watch ends by itself and is begun anew: a connection that died unnoticed costs no more."""
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_SILENCE_SECONDS = 600
"""A log that is silent for longer is asked for anew: its connection may be dead."""
_AWAY = (429, 500, 502, 503, 504)
_GONE = 410


def credentials(wish: str, *, otherwise: str) -> tuple[Any, str]:
    """How to reach the API, and the namespace: the pod's service account, else the kubeconfig.

    Raises:
        LaunchError: there is neither. It says who wanted it, and what to do `otherwise`.
    """
    configuration = kubernetes.client.Configuration()
    try:
        if NAMESPACE_FILE.exists():
            kubernetes.config.load_incluster_config(client_configuration=configuration)
            return configuration, NAMESPACE_FILE.read_text().strip()
        kubernetes.config.load_kube_config(client_configuration=configuration)
        active = kubernetes.config.list_kube_config_contexts()[1]
    except ConfigException as error:
        raise LaunchError(
            f"{wish}, but no cluster is known here ({error}); run it in a pod with a service "
            f"account token, set KUBECONFIG, or {otherwise}"
        ) from error
    return configuration, active["context"].get("namespace", "default")


class Cluster:
    """One namespace of a cluster; `clock` and `sleep` in seconds."""

    def __init__(
        self,
        configuration: Any,
        namespace: str,
        *,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        watch_seconds: int = WATCH_SECONDS,
    ) -> None:
        configuration.retries = False  # urllib3's own would hide how long the API is away
        client = kubernetes.client.ApiClient(configuration)
        self._custom = kubernetes.client.CustomObjectsApi(client)
        self._core = kubernetes.client.CoreV1Api(client)
        self._say, self._clock, self._sleep = say, clock, sleep
        self._watch_seconds = watch_seconds
        self.namespace = namespace

    @classmethod
    def connect(cls, *, say: Say) -> "Cluster":
        """As the pod's service account, else as the kubeconfig says.

        Raises:
            LaunchError: there is neither.
        """
        wish = "platform.launcher is trainjob"
        return cls(*credentials(wish, otherwise="set it to pod"), say=say)

    def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Create a TrainJob; RefusalError with status 409 when there is one of its name."""
        # Strict: an older Trainer would drop the fields that it does not know, without a word.
        found: dict[str, Any] = self._ask(
            self._custom.create_namespaced_custom_object,
            *self._trainjobs,
            resource,
            field_validation="Strict",
            what=("create", "trainjobs"),
        )
        return found

    def get(self, name: str) -> dict[str, Any] | None:
        """A TrainJob; None when there is none."""
        try:
            found: dict[str, Any] = self._ask(
                self._custom.get_namespaced_custom_object,
                *self._trainjobs,
                name,
                what=("get", "trainjobs"),
            )
        except MissingError:
            return None
        return found

    def trainjobs(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """All TrainJobs with these labels."""
        listed = self._ask(
            self._custom.list_namespaced_custom_object,
            *self._trainjobs,
            label_selector=",".join(f"{name}={value}" for name, value in labels.items()),
            what=("list", "trainjobs"),
        )
        found: list[dict[str, Any]] = listed["items"]
        return found

    def delete(self, name: str, uid: str) -> None:
        """Delete the very TrainJob `uid` and, before it, its pods; gone already is well, too."""
        options = kubernetes.client.V1DeleteOptions(
            propagation_policy="Foreground",
            preconditions=kubernetes.client.V1Preconditions(uid=uid),
        )
        try:
            self._ask(
                self._custom.delete_namespaced_custom_object,
                *self._trainjobs,
                name,
                body=options,
                what=("delete", "trainjobs"),
            )
        except RefusalError as refusal:
            if (
                not isinstance(refusal, MissingError) and refusal.status != 409
            ):  # 409: another's by now
                raise

    def changes(self, name: str) -> Iterator[dict[str, Any] | None]:
        """Follow a TrainJob for ever: what it is now and after each change, None when missing.

        A watch that was cut, has expired (410) or ran its time is followed by a fresh look.
        """
        selector = f"metadata.name={name}"
        while True:
            listed = self._ask(
                self._custom.list_namespaced_custom_object,
                *self._trainjobs,
                field_selector=selector,
                what=("list", "trainjobs"),
            )
            yield next(iter(listed["items"]), None)
            begun = self._clock()
            yield from self._watch(selector, listed["metadata"]["resourceVersion"])
            if self._clock() - begun < 1:
                self._sleep(1)  # a watch that ends at once must not become a storm

    def _watch(self, selector: str, version: str) -> Iterator[dict[str, Any] | None]:
        try:
            for event in self._events_since(selector, version):
                if event["type"] == "ERROR":  # 410: the version is no longer known
                    return
                yield None if event["type"] == "DELETED" else event["object"]
        except RefusalError as no:
            if no.status != _GONE:
                raise
        except (urllib3.exceptions.HTTPError, json.JSONDecodeError):
            return  # cut, perhaps inside a line; the fresh look tells what was missed

    def _events_since(self, selector: str, version: str) -> Iterator[dict[str, Any]]:
        response = self._ask(
            self._custom.list_namespaced_custom_object,
            *self._trainjobs,
            field_selector=selector,
            resource_version=version,
            watch=True,
            timeout_seconds=self._watch_seconds,
            _preload_content=False,
            _request_timeout=(_CONNECT_SECONDS, self._watch_seconds + _READ_SECONDS),
            what=("watch", "trainjobs"),
        )
        with closing(response):
            for line in lines(response):
                yield json.loads(line)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """The training pods of a TrainJob, the youngest last."""
        response = self._ask(
            self._core.list_namespaced_pod,
            self.namespace,
            label_selector=f"jobset.sigs.k8s.io/jobset-name={name},"
            f"jobset.sigs.k8s.io/replicatedjob-name={NODE}",
            _preload_content=False,
            what=("list", "pods"),
        )
        items: list[dict[str, Any]] = json.loads(response.data)["items"]
        return sorted(items, key=lambda item: item["metadata"].get("creationTimestamp", ""))

    def pod(self, name: str) -> dict[str, Any]:
        """One pod of the namespace."""
        response = self._ask(
            self._core.read_namespaced_pod,
            name,
            self.namespace,
            _preload_content=False,
            what=("get", "pods"),
        )
        found: dict[str, Any] = json.loads(response.data)
        return found

    def log(self, pod: str) -> Iterator[str]:
        """Follow the log of a training pod; each line begins with its moment (RFC 3339).

        An `urllib3` error when the connection is cut.
        """
        response = self._ask(
            self._core.read_namespaced_pod_log,
            pod,
            self.namespace,
            container=NODE,
            follow=True,
            timestamps=True,
            _preload_content=False,
            _request_timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
            what=("get", "pods/log"),
        )
        with closing(response):
            yield from lines(response)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was noted about the object `name` of any kind (a TrainJob's JobSet has its name)."""
        response = self._ask(
            self._core.list_namespaced_event,
            self.namespace,
            field_selector=f"involvedObject.name={name}",
            _preload_content=False,
            what=("list", "events"),
        )
        items: list[dict[str, Any]] = json.loads(response.data)["items"]
        return sorted(items, key=lambda item: item.get("lastTimestamp") or "")

    @property
    def _trainjobs(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    def _ask(
        self, request: Callable[..., Any], *args: Any, what: tuple[str, str], **kw: Any
    ) -> Any:
        """Make a request, again and again while the API is away; RefusalError when it says no."""
        kw.setdefault("_request_timeout", (_CONNECT_SECONDS, _READ_SECONDS))
        begun, delay = self._clock(), 1.0
        while True:
            try:
                return request(*args, **kw)
            except ApiException as error:
                if error.status not in _AWAY:
                    raise refusal(error, what, self.namespace) from error
                trouble = f"{error.status} {error.reason}"
            except urllib3.exceptions.HTTPError as error:
                trouble = str(error)
            if self._clock() - begun > PATIENCE_SECONDS:
                raise LaunchError(
                    f"the Kubernetes API has not answered for {PATIENCE_SECONDS:.0f} s "
                    f"({trouble}); a training that runs goes on without the launcher: run again "
                    "to find it"
                )
            self._say(f"the Kubernetes API is away ({trouble}); trying again in {delay:.0f} s")
            self._sleep(delay)
            delay = min(2 * delay, 30.0)


def lines(response: Any) -> Iterator[str]:
    """The lines of a streamed answer as they come; one without its end at last."""
    rest = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole if line)
    if rest:
        yield rest.decode(errors="replace")
