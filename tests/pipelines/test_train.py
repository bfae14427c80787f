"""What is compiled for the cluster, task by task. `python tests/pipelines/test_train.py` renews
the golden file; look at the difference before you commit it."""

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from chainsight.teacher import keys

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/fixtures/pipelines/train.yaml"
IMAGE = "team/chainsight-{}@sha256:" + "0" * 64
STAGES = ("prepare", "distill", "sft", "sample", "pair", "dpo", "evaluate", "register")
SETTINGS = (
    "platform.labels={team: vision}",
    "platform.shards={sample: 4}",
    "platform.node_selector={pool: gpu}",
)
COMMAND = "import sys; from chainsight.cli import main; main()"
Document = dict[str, Any]


def compile_paper() -> str:
    """`chainsight compile configs/paper.yaml` with pinned images and some of `platform` set."""
    images = {f"CHAINSIGHT_IMAGE_{s.upper()}": IMAGE.format(s) for s in STAGES}
    target = ROOT / f".golden-{os.getpid()}.yaml"  # several workers
    settings = [f"--set={setting}" for setting in SETTINGS]
    command = [sys.executable, "-c", COMMAND, "compile", "configs/paper.yaml", *settings]
    secrets = {"OPENAI_API_KEY": "sk-plaintext", "AWS_SECRET_ACCESS_KEY": "plaintext-too"}
    try:
        subprocess.run(
            [*command, "-o", str(target)], cwd=ROOT, env=os.environ | images | secrets, check=True
        )
        return target.read_text()
    finally:
        target.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def compiled() -> str:
    return compile_paper()


@pytest.fixture(scope="module")
def documents(compiled: str) -> list[Document]:
    return list(yaml.safe_load_all(compiled))


def executors(documents: list[Document]) -> dict[str, Document]:
    """Each task's container and what it asks of Kubernetes, by executor without `exec-`."""
    containers = documents[0]["deploymentSpec"]["executors"]
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {
        name.removeprefix("exec-"): spec["container"] | {"kubernetes": platform[name]}
        for name, spec in containers.items()
    }


def dags(spec: Document) -> Iterator[tuple[str, Document]]:
    yield "root", spec["root"]
    for name, component in spec["components"].items():
        if "dag" in component:
            yield name, component


def stage_of(task: str) -> str:
    return re.sub(r"-\d+$", "", task)


GPU = {"sft", "dpo", "sample", "evaluate"}
TASKS = (*STAGES, "sample-2", "doctor", "summarize")


def test_the_compiled_pipeline_is_the_golden_one(compiled: str) -> None:
    lines = difflib.unified_diff(
        GOLDEN.read_text().splitlines(), compiled.splitlines(), "golden", "now", lineterm="", n=2
    )
    difference = "\n".join(list(lines)[:80])
    assert not difference, (
        f"the compiled pipeline has changed; if that is meant, renew the golden file by\n"
        f"  python {Path(__file__).relative_to(ROOT)}\n{difference}"
    )


def test_kfp_itself_takes_it_for_a_pipeline(documents: list[Document]) -> None:
    spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(documents[1], pipeline_spec_pb2.PlatformSpec())
    assert spec.pipeline_info.name == "chainsight-train"
    for name, parameter in spec.root.input_definitions.parameters.items():
        assert parameter.description, name
        assert parameter.HasField("default_value"), name


def test_every_task_is_there(documents: list[Document]) -> None:
    assert set(executors(documents)) == set(TASKS)


def test_every_reference_leads_somewhere(documents: list[Document]) -> None:
    """kfp 2.17 forgets some parameters inside groups; the server would fail at run time."""
    spec = documents[0]
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for where, component in dags(spec):
        known = set(component.get("inputDefinitions", {}).get("parameters", {}))
        for name, task in component["dag"]["tasks"].items():
            inputs = task.get("inputs", {}).get("parameters", {})
            given = [p.get("componentInputParameter") for p in inputs.values()]
            wanted = {parameter for parameter in given if parameter}
            label = spec["components"][task["componentRef"]["name"]].get("executorLabel")
            wanted |= set(
                re.findall(r"'componentInputParameter': '([^']+)'", str(platform.get(label, "")))
            )
            assert wanted <= known, (where, name, wanted - known)
            constants = [str(p.get("runtimeValue", "")) for p in inputs.values()]
            named = set(re.findall(r"inputs\.parameters\['([^']+)'\]", " ".join(constants)))
            assert named <= set(inputs), (where, name, named - set(inputs))


@pytest.mark.parametrize("task", TASKS)
def test_every_image_is_pinned_and_the_stages_own(documents: list[Document], task: str) -> None:
    owner = {"summarize": "register", "doctor": "distill"}.get(task, stage_of(task))
    assert executors(documents)[task]["image"] == IMAGE.format(owner)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_knows_its_image_and_pipeline(documents: list[Document], task: str) -> None:
    found = executors(documents)[task]
    environment = {pair["name"]: pair["value"] for pair in found["env"]}
    assert environment["CHAINSIGHT_IMAGE"] == found["image"]
    assert environment["CHAINSIGHT_PIPELINE"] == "chainsight-train"


@pytest.mark.parametrize("task", TASKS)
def test_gpus_go_to_the_stages_that_compute(documents: list[Document], task: str) -> None:
    found = executors(documents)[task]
    resources, pod = found["resources"], found["kubernetes"]
    if stage_of(task) in GPU and task != "sample-2":  # which only puts the shards together
        count = resources["accelerator"]["resourceCount"]
        assert ("gpu_pod_gpus" in count) if task in ("sft", "dpo") else (count == "1")
        assert "gpu_pod_gpu_type" in resources["accelerator"]["resourceType"]
        assert "gpu_pod_cpu" in resources["resourceCpuLimit"]
        assert "gpu_pod_memory" in resources["resourceMemoryLimit"]
        assert "gpu_pod_node_selector" in str(pod["nodeSelector"]["nodeSelectorJson"])
        assert "gpu_pod_tolerations" in str(pod["tolerations"][0]["tolerationJson"])
        shm = {"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "16Gi"}
        assert pod["emptyDirMounts"] == [shm | {"volumeName": "shm"}]
    else:
        assert "accelerator" not in resources
        assert not {"nodeSelector", "tolerations", "emptyDirMounts"} & set(pod)
        assert "cpu_pod_cpu" in resources["resourceCpuLimit"]
        assert "cpu_pod_memory" in resources["resourceMemoryLimit"]


@pytest.mark.parametrize("task", TASKS)
def test_secrets_are_references_and_the_teachers_goes_to_who_asks_it(
    documents: list[Document], task: str
) -> None:
    pod = executors(documents)[task]["kubernetes"]
    variables = {
        pair["envVar"]: secret["secretNameParameter"]["componentInputParameter"]
        for secret in pod["secretAsEnv"]
        for pair in secret["keyToEnv"]
    }
    assert "AWS_SECRET_ACCESS_KEY" in variables
    assert "MLFLOW_TRACKING_PASSWORD" in variables
    assert "secret_teacher" not in "".join(variables.values())
    mounted = [
        (secret["secretNameParameter"]["componentInputParameter"], secret["mountPath"])
        for secret in pod.get("secretAsVolume", [])
    ]
    teachers = [("pipelinechannel--secret_teacher", str(keys.MOUNTED))]
    assert mounted == (teachers if task in ("distill", "doctor") else [])


def test_no_secret_is_written_out(compiled: str) -> None:
    assert "plaintext" not in compiled


@pytest.mark.parametrize("task", TASKS)
def test_every_pod_is_labelled_restricted_and_limited(documents: list[Document], task: str) -> None:
    pod = executors(documents)[task]["kubernetes"]
    assert pod["podMetadata"]["labels"] == {
        "chainsight.dev/run": "paper",
        "chainsight.dev/stage": stage_of(task),
        "team": "vision",
    }
    user = {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
    assert pod["securityContext"] == user
    assert pod["activeDeadlineSeconds"] == "259200"


def test_failed_pods_are_tried_again_and_nothing_is_cached(documents: list[Document]) -> None:
    spec = documents[0]
    for where, component in dags(spec):
        for name, task in component["dag"]["tasks"].items():
            if "executorLabel" in spec["components"][task["componentRef"]["name"]]:
                assert task["retryPolicy"]["maxRetryCount"] == 2, (where, name)
                assert task["retryPolicy"]["backoffDuration"] == "30s"
                assert not task["cachingOptions"].get("enableCache"), name


def test_shards_run_side_by_side_before_their_stage(documents: list[Document]) -> None:
    stages = documents[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    (loop,) = (name for name in stages if name.startswith("for-loop"))
    items = yaml.safe_load(stages[loop]["parameterIterator"]["items"]["raw"])
    assert items == ["0/4", "1/4", "2/4", "3/4"]
    assert loop in stages["sample-2"]["dependentTasks"]
    constant = stages["sample-2"]["inputs"]["parameters"]["shard"]["runtimeValue"]["constant"]
    assert constant == "all/4"


def test_nothing_starts_before_the_doctor_has_agreed(documents: list[Document]) -> None:
    stages = documents[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert "dependentTasks" not in stages["doctor"]
    assert stages["prepare"]["dependentTasks"] == ["doctor"]
    assert all(task["dependentTasks"] for name, task in stages.items() if name != "doctor")


def test_the_summary_comes_last_whatever_happened(documents: list[Document]) -> None:
    closing = documents[0]["root"]["dag"]["tasks"]["summarize"]
    assert closing["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


if __name__ == "__main__":
    GOLDEN.write_text(compile_paper())
