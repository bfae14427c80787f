"""The TrainJob as it is sent: every field, no secret, accepted by Trainer 2.3's schema."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import SCHEMA, unknown
from launching import IMAGE, KEY, NAME

from chainsight.config import PlatformSection
from chainsight.errors import LaunchError
from chainsight.launch.manifest import SAVING_SECONDS, Owner, Work, build, label
from chainsight.launch.refusals import RULES

DOCUMENT = Path(__file__).parents[2] / "docs/trainjob.md"
PLATFORM = PlatformSection.model_validate(
    {
        "gpu_pod": {"cpu": "32", "memory": "900Gi"},
        "gpu_type": "nvidia.com/mig-3g.40gb",
        "gpus": 4,
        "nodes": 2,
        "node_selector": {"pool": "gpu"},
        "shm_size": "64Gi",
        "timeout_seconds": 3600,
        "labels": {"team": "vision", "chainsight.dev/stage": "not yours to set"},
        "runtime": "our-torch",
        "queue": "gpu-train",
    }
)
LABELS = {
    "team": "vision",
    "app.kubernetes.io/managed-by": "chainsight",
    "chainsight.dev/stage": "sft",
    "chainsight.dev/stage-key": KEY[:16],
    "chainsight.dev/run": "paper",
    "chainsight.dev/pipeline-run": "run-1",
}
AMOUNTS = {"cpu": "32", "memory": "900Gi", "nvidia.com/mig-3g.40gb": "4"}


def reference(name: str, key: str) -> dict[str, Any]:
    where = {"name": name, "key": key, "optional": True}
    return {"name": key, "valueFrom": {"secretKeyRef": where}}


def test_the_trainjob_is_exactly_this(work: Work) -> None:
    environment = {"AWS_ENDPOINT_URL_S3": "http://s3:8333", "PATH": "/bin", "AWS_REGION": ""}
    found = build(work, PLATFORM, environment=environment, owner=Owner("run-x7", "uid-1"))
    pod = {
        "metadata": {"labels": LABELS},
        "spec": {
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}],
            "containers": [
                {"name": "node", "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]}
            ],
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ],
            "nodeSelector": {"pool": "gpu"},
        },
    }
    job = {"name": "node", "template": {"spec": {"template": pod}}}
    assert found == {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {
            "name": NAME,
            "labels": LABELS | {"kueue.x-k8s.io/queue-name": "gpu-train"},
            "annotations": {
                "chainsight.dev/stage-key": KEY,
                "chainsight.dev/pipeline-run": "run-1",
            },
            "ownerReferences": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Workflow",
                    "name": "run-x7",
                    "uid": "uid-1",
                }
            ],
        },
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "TrainingRuntime",
                "name": "our-torch",
            },
            "activeDeadlineSeconds": 3600,
            "trainer": {
                "image": IMAGE,
                "command": [
                    "torchrun",
                    f"--shutdown-timeout={SAVING_SECONDS}",
                    "-m",
                    "chainsight.launch.worker",
                ],
                "numNodes": 2,
                "numProcPerNode": 4,
                "resourcesPerNode": {"requests": AMOUNTS, "limits": AMOUNTS},
                "env": [
                    {"name": "AWS_ENDPOINT_URL_S3", "value": "http://s3:8333"},
                    {"name": "CHAINSIGHT_IMAGE", "value": IMAGE},
                    {"name": "CHAINSIGHT_JOB", "value": work.job},
                    {"name": "CHAINSIGHT_PARALLEL", "value": "fsdp"},
                    {"name": "PYTHONUNBUFFERED", "value": "1"},
                    {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"},
                    reference("chainsight-store", "AWS_ACCESS_KEY_ID"),
                    reference("chainsight-store", "AWS_SECRET_ACCESS_KEY"),
                    reference("chainsight-tracking", "MLFLOW_TRACKING_USERNAME"),
                    reference("chainsight-tracking", "MLFLOW_TRACKING_PASSWORD"),
                ],
            },
            "runtimePatches": [
                {
                    "manager": "chainsight.dev/launcher",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
                }
            ],
        },
    }
    assert unknown(found, SCHEMA) == []


def test_what_is_not_asked_for_is_left_out(work: Work) -> None:
    found = build(replace(work, pipeline_run=""), PlatformSection(processes=2), environment={})
    labels = found["metadata"]["labels"]
    assert "kueue.x-k8s.io/queue-name" not in labels
    assert "chainsight.dev/pipeline-run" not in labels
    assert "ownerReferences" not in found["metadata"]
    assert "nodeSelector" not in json.dumps(found)
    assert found["spec"]["trainer"]["numProcPerNode"] == 2


def test_dollars_reach_the_workers_as_they_are(work: Work) -> None:
    """Kubernetes' expansion of a value: $$ is a dollar, $(NAME) the variable of that name."""
    job = json.dumps({"price": "$5, $$5, $(HOME)"})
    found = build(replace(work, job=job), PLATFORM, environment={})
    values = {item["name"]: item.get("value", "") for item in found["spec"]["trainer"]["env"]}
    expanded = re.sub(
        r"\$\$|\$\((\w+)\)",
        lambda match: "$" if match[0] == "$$" else "expanded",
        values["CHAINSIGHT_JOB"],
    )
    assert expanded == job


def test_equal_work_has_an_equal_name_that_pods_can_bear(work: Work) -> None:
    names = {replace(work, stage=stage).name for stage in ("sft", "dpo")}
    assert len(names) == 2
    assert work.name == replace(work, image="another", pipeline_run="run-2").name
    for name in names:
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert len(f"{name}-node-0-15-abcde") <= 63


@pytest.mark.parametrize(
    ("text", "value"),
    [("run-1", "run-1"), ("a b/c", "a-b-c"), ("-x-", "x"), ("x" * 70, "x" * 63), ("é", "")],
)
def test_a_label_is_one_that_kubernetes_accepts(text: str, value: str) -> None:
    assert label(text) == value


Spoil = Callable[[Work], Work]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("OPENAI_API_KEY", lambda work: replace(work, job=json.dumps({"teacher": "sk-1234567"}))),
        ("AWS_SECRET_ACCESS_KEY", lambda work: replace(work, image="a/sk-1234567@sha256:0")),
        ("HF_TOKEN", lambda work: replace(work, pipeline_run="sk-1234567")),
        ("MLFLOW_TRACKING_PASSWORD", lambda work: replace(work, job='{"x": "sk-1234567"}')),
    ],
)
def test_a_secret_in_clear_is_refused(work: Work, name: str, spoil: Spoil) -> None:
    with pytest.raises(LaunchError, match=f"value of {name} would stand in the TrainJob in clear"):
        build(spoil(work), PLATFORM, environment={name: "sk-1234567"})
    build(work, PLATFORM, environment={name: "sk-1234567"})


def test_an_address_with_a_password_is_refused(work: Work) -> None:
    address = "https://user:word@mlflow"
    with pytest.raises(LaunchError, match="MLFLOW_TRACKING_URI holds a password"):
        build(work, PLATFORM, environment={"MLFLOW_TRACKING_URI": address})
    job = json.dumps({"run": {"tracking_uri": address}})
    with pytest.raises(LaunchError, match="CHAINSIGHT_JOB holds a password"):
        build(replace(work, job=job), PLATFORM, environment={})


def test_the_teachers_key_is_nowhere(work: Work) -> None:
    text = json.dumps(build(work, PLATFORM, environment={"OPENAI_API_KEY": "sk-1234567"}))
    assert "OPENAI" not in text
    assert PLATFORM.teacher_secret not in text


def documented(kind: str) -> dict[str, Any]:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    found = [item for block in blocks for item in yaml.safe_load_all(block)]
    return next(item for item in found if item["kind"] == kind)


def test_the_documented_role_is_the_one_that_errors_ask_for() -> None:
    rules = {
        (rule["apiGroups"][0], resource): ", ".join(rule["verbs"])
        for rule in documented("Role")["rules"]
        for resource in rule["resources"]
    }
    assert rules == {(group.strip('"'), resource): verbs for group, resource, verbs in RULES}


def test_the_documented_runtime_fits_the_trainjob() -> None:
    runtime = documented("TrainingRuntime")
    assert runtime["metadata"]["name"] == PlatformSection().runtime
    template = runtime["spec"]["template"]["spec"]
    job = template["replicatedJobs"][0]
    assert job["name"] == "node"
    step = job["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"]
    assert step == "trainer"
    pod = job["template"]["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["containers"]] == ["node"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] > SAVING_SECONDS
    assert pod["restartPolicy"] == "Never"
    assert template["failurePolicy"]["maxRestarts"] > 0
    assert "ttlSecondsAfterFinished" not in json.dumps(runtime)
