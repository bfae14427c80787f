"""What the stages get on a cluster: pods, GPUs, secrets, labels. It decides no result."""

from typing import Annotated, Literal

from pydantic import Field

from chainsight.config.section import Count, Section

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTP]i?)?$")]
"""A Kubernetes quantity: 4, 500m, 16Gi."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""Name of a Kubernetes object."""


class Pod(Section):
    """CPU and memory of a stage's pod: requested, and its limit."""

    cpu: Quantity = "4"
    """Cores."""
    memory: Quantity = "16Gi"
    """Memory; a pod that takes more is killed."""


class Toleration(Section):
    """A taint that GPU pods accept; by default the one that GPU nodes usually carry."""

    key: str = "nvidia.com/gpu"
    """The taint's key."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """Whether the taint's value matters."""
    value: str | None = None
    """The taint's value, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = "NoSchedule"
    """The taint's effect; none: any."""


class Shards(Section):
    """Pods side by side in the stages that need no neighbours; results do not depend on it."""

    prepare: Annotated[int, Field(ge=1, le=16)] = 1
    """Each keeps all its cores busy, up to 8."""
    distill: Annotated[int, Field(ge=1, le=16)] = 1
    """Each has the whole `distill.concurrency`."""
    sample: Annotated[int, Field(ge=1, le=16)] = 1
    """One GPU each."""
    evaluate: Annotated[int, Field(ge=1, le=16)] = 1
    """One GPU each."""


class PlatformSection(Section):
    """Where the stages run on a cluster, and with what."""

    cpu_pod: Pod = Pod()
    """Pods of prepare, distill, pair, adopt and register."""
    gpu_pod: Pod = Pod(cpu="16", memory="160Gi")
    """Pods of sft, sample, dpo, rft, evaluate, score and verify."""
    gpu_type: Annotated[str, Field(min_length=1)] = "nvidia.com/gpu"
    """The resource that a GPU is: what the device plugin calls it."""
    gpus: Annotated[int, Field(ge=1, le=64)] = 8
    """GPUs of a training pod (sft, dpo, rft); sample and evaluate take one per shard."""
    gpu: Annotated[str, Field(min_length=1)] | None = None
    """The GPU's name (H100) or memory (80GB), for the doctor's `memory` alone; none: what labels of
    nodes or this machine's driver tell."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that GPU pods may run on."""
    tolerations: tuple[Toleration, ...] = (Toleration(),)
    """Taints that GPU pods accept."""
    shm_size: Quantity = "16Gi"
    """`/dev/shm` of GPU pods: workers of a training exchange tensors there."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Tries of a failed pod after the first; a retried stage resumes where it stopped."""
    timeout_seconds: Annotated[int, Field(ge=60)] = 259_200
    """A pod that takes longer is ended (three days)."""
    home_claim: Name | None = None
    """PersistentVolumeClaim, ReadWriteMany, mounted at /chainsight in all pods: with `run.home`
    below it, pods share what they fetched. None: a pod's own disk; paid answers are in the
    store."""
    store_secret: Name = "chainsight-store"  # noqa: S105 - a name
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; may be missing where pods have
    an identity of their own."""
    teacher_secret: Name = "chainsight-teacher"  # noqa: S105 - a name
    """Secret with the teacher's keys, an entry for each `api_key_env` (OPENAI_API_KEY); only
    distill and the doctor get it, as files."""
    tracking_secret: Name = "chainsight-tracking"  # noqa: S105 - a name
    """Secret with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; may be missing."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of every pod, beside ours (`chainsight.dev/...`): cost centres, network policies."""
    launcher: Literal["pod", "trainjob"] = "pod"
    """Train in the stage's own pod, by torchrun over its GPUs, or as a Kubeflow TrainJob."""
    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Nodes of a TrainJob, each with `gpus`."""
    processes: Count | None = None
    """Training processes of a pod; none: one a visible GPU (one without a GPU)."""
    parallel: Literal["fsdp", "ddp"] = "fsdp"
    """How several processes share a training: weights cut up among them, or a copy in each."""
    runtime: Name = "chainsight-torch"
    """TrainingRuntime that TrainJobs refer to; the Helm chart ships it."""
    queue: Name | None = None
    """Kueue's local queue for TrainJobs; none: no queueing."""
    shards: Shards = Shards()
    """Pods side by side."""
    ablation_pods: Annotated[int, Field(ge=1, le=64)] = 4
    """Pods of an ablation side by side, of each stage."""
