"""What a task gets on the cluster: image pull aside, everything that its pod's manifest says.

Values that Kubeflow lets a run change are pipeline parameters, with the configuration's `platform`
section as defaults; the others (labels, retries, time limit, `/dev/shm`) are fixed when the
pipeline is compiled.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineChannel

from chainsight.config import PlatformSection
from chainsight.stages import TRAINING
from chainsight.teacher import keys

STORE_KEYS = {
    "AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL": "AWS_ENDPOINT_URL",
}
TRACKING_KEYS = {
    "MLFLOW_TRACKING_USERNAME": "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD": "MLFLOW_TRACKING_PASSWORD",
}
USER = 10001
"""The images' user."""


@dataclass(frozen=True)
class Placement:
    """The pipeline parameters that decide where and with what pods run."""

    cpu_pod_cpu: Any
    cpu_pod_memory: Any
    gpu_pod_cpu: Any
    gpu_pod_memory: Any
    gpu_pod_gpu_type: Any
    gpu_pod_gpus: Any
    gpu_pod_node_selector: Any
    gpu_pod_tolerations: Any
    secret_store: Any
    secret_teacher: Any
    secret_tracking: Any


PARAMETERS: dict[str, tuple[type, str]] = {
    "cpu_pod_cpu": (str, "Cores of the pods without a GPU."),
    "cpu_pod_memory": (str, "Memory of the pods without a GPU."),
    "gpu_pod_cpu": (str, "Cores of the pods with GPUs."),
    "gpu_pod_memory": (str, "Memory of the pods with GPUs."),
    "gpu_pod_gpu_type": (str, "The resource that a GPU is, such as nvidia.com/gpu."),
    "gpu_pod_gpus": (int, "GPUs of a training pod (sft, dpo, rft); other GPU pods have one."),
    "gpu_pod_node_selector": (dict, "Labels of the nodes that GPU pods may run on."),
    "gpu_pod_tolerations": (list, "Taints that GPU pods accept, as Kubernetes writes them."),
    "secret_store": (str, "Secret with the object store's keys; may be missing."),
    "secret_teacher": (str, "Secret with the teacher's keys; for distill and the doctor."),
    "secret_tracking": (str, "Secret with MLflow's user and password; may be missing."),
}
"""The fields of `Placement` as people see them in the run form."""


def placed(function: Callable[..., None]) -> Callable[..., None]:
    """Replace the argument `chosen` by the parameters of `Placement`, documented."""
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "chosen"]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = [inspect.Parameter(n, kind, annotation=t) for n, (t, _) in PARAMETERS.items()]
    order = sorted([*own, *added], key=lambda p: p.default is not inspect.Parameter.empty)

    def pipeline(*values: Any) -> None:
        given = dict(zip([p.name for p in order], values, strict=True))
        function(chosen=Placement(**{name: given.pop(name) for name in PARAMETERS}), **given)

    pipeline.__name__ = function.__name__
    pipeline.__signature__ = inspect.Signature(order)  # type: ignore[attr-defined]
    lines = [f"    {name}: {text}" for name, (_, text) in PARAMETERS.items()]
    pipeline.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), *lines])
    return pipeline


def defaults(platform: PlatformSection) -> dict[str, Any]:
    """The parameters of `Placement` as `platform` has them."""
    plain = platform.model_dump(mode="json", exclude_none=True)
    return {
        "cpu_pod_cpu": platform.cpu_pod.cpu,
        "cpu_pod_memory": platform.cpu_pod.memory,
        "gpu_pod_cpu": platform.gpu_pod.cpu,
        "gpu_pod_memory": platform.gpu_pod.memory,
        "gpu_pod_gpu_type": platform.gpu_type,
        "gpu_pod_gpus": platform.gpus,
        "gpu_pod_node_selector": plain["node_selector"],
        "gpu_pod_tolerations": plain["tolerations"],
        "secret_store": platform.store_secret,
        "secret_teacher": platform.teacher_secret,
        "secret_tracking": platform.tracking_secret,
    }


def place(
    task: PipelineTask,
    stage: str,
    run: str,
    platform: PlatformSection,
    chosen: Placement,
    *,
    gpus: bool,
) -> PipelineTask:
    """Say what `task` gets: resources, node, secrets, labels, retries and a time limit.

    Args:
        task: a task of the pipeline.
        stage: the stage that it runs, or another task's own name.
        run: the run's name, for its label.
        platform: what is fixed when the pipeline is compiled.
        chosen: what a run may change.
        gpus: whether the pod needs GPUs.
    """
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    if not (stage in TRAINING and platform.launcher == "trainjob"):  # it may queue for long
        kubernetes.set_timeout(task, platform.timeout_seconds)
    _label(task, stage, run, platform)
    _secrets(task, stage, chosen)
    if platform.home_claim:
        kubernetes.mount_pvc(task, pvc_name=platform.home_claim, mount_path="/chainsight")
    if platform.retries:
        task.set_retry(platform.retries, "30s", 2.0, "600s")
    task.set_caching_options(False)  # the store is the cache: KFP's key sees ids, not content
    if not gpus:
        return _sized(task, chosen.cpu_pod_cpu, chosen.cpu_pod_memory)
    return _on_gpus(task, chosen.gpu_pod_gpus if stage in TRAINING else 1, platform, chosen)


def _on_gpus(
    task: PipelineTask, gpus: Any, platform: PlatformSection, chosen: Placement
) -> PipelineTask:
    _hand_down(task, chosen.gpu_pod_gpu_type, gpus)
    task.set_accelerator_type(chosen.gpu_pod_gpu_type).set_accelerator_limit(gpus)
    kubernetes.add_node_selector_json(task, chosen.gpu_pod_node_selector)
    kubernetes.add_toleration_json(task, chosen.gpu_pod_tolerations)
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", "Memory", platform.shm_size)  # noqa: S108
    return _sized(task, chosen.gpu_pod_cpu, chosen.gpu_pod_memory)


def _sized(task: PipelineTask, cpu: Any, memory: Any) -> PipelineTask:
    _hand_down(task, cpu, memory)
    task.set_cpu_request(cpu).set_cpu_limit(cpu)
    return task.set_memory_request(memory).set_memory_limit(memory)


def _hand_down(task: PipelineTask, *values: Any) -> None:
    """Make parameters known inside groups: kfp 2.17 forgets those that are only resources."""
    task.register_pipeline_channels([v for v in values if isinstance(v, PipelineChannel)])


def _secrets(task: PipelineTask, stage: str, chosen: Placement) -> None:
    """References only. The teacher's keys go to distill, and to doctor, which tries them.

    As files, a whole secret: which of its entries a run asks for (`api_key_env` of each place) is
    known only at run time, and a file follows a rotated secret where a variable would not.
    """
    kubernetes.use_secret_as_env(task, chosen.secret_store, STORE_KEYS, optional=True)
    kubernetes.use_secret_as_env(task, chosen.secret_tracking, TRACKING_KEYS, optional=True)
    if stage in ("distill", "doctor"):
        folder = str(keys.MOUNTED)
        kubernetes.use_secret_as_volume(task, chosen.secret_teacher, folder, optional=True)


def _label(task: PipelineTask, stage: str, run: str, platform: PlatformSection) -> None:
    ours = {"chainsight.dev/stage": stage, "chainsight.dev/run": run}
    for key, value in (platform.labels | ours).items():
        kubernetes.add_pod_label(task, key, value)
