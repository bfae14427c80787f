"""A stage's training as a Kubeflow TrainJob (`trainer.kubeflow.org/v1alpha1`): a pure function.

The custom resource is written as it is, not through Kubeflow's SDK, which cannot refer to a
Secret from the training container. Source of the fields: Kubeflow Trainer 2.3, `TrainJob`.
What Trainer lets nobody patch per job stands in the TrainingRuntime that the job refers to:
grace period, service account token, restarts, security contexts (docs/trainjob.md).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chainsight.config.platform import PlatformSection
from chainsight.errors import LaunchError
from chainsight.job import IMAGE_VARIABLE
from chainsight.launch.worker import FRESH_STORE, JOB_VARIABLE, PARALLEL_VARIABLE

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
MANAGED_BY = "app.kubernetes.io/managed-by"
STAGE = "chainsight.dev/stage"
STAGE_KEY = "chainsight.dev/stage-key"
"""As an annotation the whole key; as a label, which holds 63 characters, its beginning."""
RUN = "chainsight.dev/run"
"""The configuration's `run.name`, as on the pods of all stages."""
PIPELINE_RUN = "chainsight.dev/pipeline-run"
"""The one pipeline run, by KFP's id, that made the TrainJob and ends it."""
QUEUE = "kueue.x-k8s.io/queue-name"
NODE = "node"
"""Name that Trainer gives the training's replicated job and its container."""
SAVING_SECONDS = 120
"""For the checkpoint that a terminated pod keeps, before torchrun kills its workers; also how long
the workers of a pod may hang when one of them has died."""
COMMAND = (
    "torchrun",
    f"--shutdown-timeout={SAVING_SECONDS}",
    "-m",
    "chainsight.launch.worker",
)

PASSED_ON = (
    "AWS_CA_BUNDLE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "CHAINSIGHT_CODE_VERSION",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "MLFLOW_TRACKING_URI",
    "NCCL_DEBUG",
)
"""Settings that the workers take from the launcher's environment, none of them a secret."""
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|API_KEY|ACCESS_KEY")
"""Variables whose value never leaves the launcher's pod."""
_SHORTEST_SECRET = 8
_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Work:
    """What is to be trained."""

    stage: str
    key: str
    """The stage key, hex sha256."""
    job: str
    """The job as JSON: the arguments of `chainsight.job.job`, inputs as URIs."""
    image: str
    """The stage's image, name@digest."""
    pipeline_run: str = ""

    @property
    def name(self) -> str:
        """The TrainJob's name: equal work, equal name, so that a retry finds it.

        A DNS label of at most 35 characters: Trainer adds `-node-0-0` for the pods.
        """
        return f"chainsight-{self.stage}-{self.key[:16]}"


@dataclass(frozen=True)
class Owner:
    """The Argo Workflow whose deletion takes the TrainJob along."""

    name: str
    uid: str


def build(
    work: Work,
    platform: PlatformSection,
    *,
    environment: Mapping[str, str],
    owner: Owner | None = None,
) -> dict[str, Any]:
    """The TrainJob as JSON; `environment` is the launcher's own.

    Raises:
        LaunchError: a secret of the environment would stand in it in clear.
    """
    labels = _labels(work, platform)
    queue = {QUEUE: platform.queue} if platform.queue else {}
    metadata: dict[str, Any] = {
        "name": work.name,
        "labels": labels | queue,
        "annotations": {STAGE_KEY: work.key, PIPELINE_RUN: work.pipeline_run},
    }
    if owner:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Workflow",
                "name": owner.name,
                "uid": owner.uid,
            }
        ]
    resource = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": metadata,
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": platform.runtime},
            # Trainer counts from admission, and anew after a suspension: queueing costs nothing.
            "activeDeadlineSeconds": platform.timeout_seconds,
            "trainer": _trainer(work, platform, environment),
            "runtimePatches": [_patch(platform, labels)],
        },
    }
    _refuse_secrets(resource, environment)
    return resource


def _labels(work: Work, platform: PlatformSection) -> dict[str, str]:
    ours = {
        MANAGED_BY: "chainsight",
        STAGE: work.stage,
        STAGE_KEY: work.key[:16],
        RUN: label(_run_section(work.job).get("name", "")),
        PIPELINE_RUN: label(work.pipeline_run),
    }
    return {**platform.labels, **{name: value for name, value in ours.items() if value}}


def _run_section(job: str) -> dict[str, Any]:
    section: dict[str, Any] = json.loads(job).get("run", {})
    return section


def label(text: str) -> str:
    """`text` as the value of a label: 63 characters, letters and digits at both ends."""
    return _NOT_IN_A_LABEL.sub("-", text)[:63].strip("-_.")


def _trainer(
    work: Work, platform: PlatformSection, environment: Mapping[str, str]
) -> dict[str, Any]:
    pod = platform.gpu_pod
    amounts = {"cpu": pod.cpu, "memory": pod.memory, platform.gpu_type: str(platform.gpus)}
    return {
        "image": work.image,
        "command": list(COMMAND),
        "numNodes": platform.nodes,
        # Always a number: for `auto`, Trainer takes the CPUs where "gpu" is not in the resource's
        # name, as with nvidia.com/mig-1g.10gb.
        "numProcPerNode": platform.processes or platform.gpus,
        "resourcesPerNode": {"requests": amounts, "limits": dict(amounts)},
        "env": _variables(work, platform, environment),
    }


def _variables(
    work: Work, platform: PlatformSection, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    plain = {name: environment[name] for name in PASSED_ON if environment.get(name)}
    plain |= {
        IMAGE_VARIABLE: work.image,
        JOB_VARIABLE: work.job,
        PARALLEL_VARIABLE: platform.parallel,
        "PYTHONUNBUFFERED": "1",
        **FRESH_STORE,
    }
    return [
        # Kubernetes expands $(NAME) in a value, and takes $$ for a dollar.
        *({"name": k, "value": v.replace("$", "$$")} for k, v in sorted(plain.items())),
        *_from_secret(platform.store_secret, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        *_from_secret(
            platform.tracking_secret, ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        ),
    ]


def _from_secret(secret: str, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Variables by reference; a Secret may be missing where pods have an identity of their own."""
    return [
        {
            "name": key,
            "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}},
        }
        for key in keys
    ]


def _patch(platform: PlatformSection, labels: Mapping[str, str]) -> dict[str, Any]:
    """What Trainer 2.2 and later let a job change in its runtime's pods."""
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": platform.shm_size}}
    mount = {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - not a file of ours
    pod: dict[str, Any] = {
        "volumes": [shm],
        "containers": [{"name": NODE, "volumeMounts": [mount]}],
        "tolerations": [item.model_dump(exclude_none=True) for item in platform.tolerations],
    }
    if platform.node_selector:
        pod["nodeSelector"] = dict(platform.node_selector)
    template = {"metadata": {"labels": dict(labels)}, "spec": pod}
    job = {"name": NODE, "template": {"spec": {"template": template}}}
    return {
        "manager": "chainsight.dev/launcher",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
    }


def _refuse_secrets(resource: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    text = json.dumps(resource)
    for name, value in sorted(environment.items()):
        # Shorter values are found in innocent places, too; no key or token is that short.
        if (
            SECRET.search(name)
            and len(value) >= _SHORTEST_SECRET
            and json.dumps(value)[1:-1] in text
        ):
            raise LaunchError(
                f"the value of {name} would stand in the TrainJob in clear; take it out of the "
                "configuration and give it by the Secrets of the platform section"
            )
    for entry in resource["spec"]["trainer"]["env"]:
        _refuse_password(entry["name"], entry.get("value", ""))


def _refuse_password(name: str, value: str) -> None:
    values = [value]
    if name == JOB_VARIABLE:
        values = [str(item) for item in _run_section(value).values()]
    for address in values:
        if "://" in address and urlsplit(address).password:
            raise LaunchError(
                f"an address in {name} holds a password, which would stand in the TrainJob in "
                "clear; give user and password by platform.tracking_secret"
            )
