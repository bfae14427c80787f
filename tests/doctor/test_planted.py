"""One fault at a time in a world that is otherwise sound: found, named, with the way out."""

import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

World, Serve = Any, Callable[[dict[str, Any]], Any]

MLFLOW = "/api/2.0/mlflow"
TRAINER = "/apis/trainer.kubeflow.org/v1alpha1"
SECOND_SHARD = "model-00002-of-00002.safetensors"


@pytest.mark.parametrize("pod", [True, False])
def test_a_sound_world_passes_every_check_and_nothing_warns(world: World, pod: bool) -> None:
    if pod:
        world.in_a_pod()
    checks = world.findings()
    assert [check for check in checks if check.level != "ok"] == []
    assert {check.what for check in checks} == {
        "config", "home", "disk", "store", "dataset", "teacher", "price", "model", "memory",
        "tracking", "images", "cluster", "secrets", "gpu nodes", "crds", "permissions", "runtime",
        "queue",
    }  # fmt: skip
    assert not (world.folder / "home").exists()  # it looked, and made nothing


# --- the faults: each breaks one thing; `nobody` and `serve` are conftest's --------------------

Fault = Callable[[World, Serve, str], None]


def unwritable_home(world: World, serve: Serve, nobody: str) -> None:
    world.set("run.store", str(world.folder / "store"))
    world.set("run.home", "/proc/chainsight")


def unwritable_store(world: World, serve: Serve, nobody: str) -> None:
    (world.folder / "a-file").write_text("")
    world.set("run.store", str(world.folder / "a-file" / "store"))


def store_without_conditional_writes(world: World, serve: Serve, nobody: str) -> None:
    world.in_a_pod()
    overwrites = serve({"PUT *": (200, b""), "DELETE *": (204, b"")})
    world.environment.setenv("AWS_ENDPOINT_URL_S3", overwrites.url)


def missing_bucket(world: World, serve: Serve, nobody: str) -> None:
    world.set("run.store", "s3://nobody-made-it/team")


def store_unreachable(world: World, serve: Serve, nobody: str) -> None:
    world.in_a_pod()
    world.environment.setenv("AWS_ENDPOINT_URL_S3", nobody)


def no_store_credentials(world: World, serve: Serve, nobody: str) -> None:
    world.in_a_pod()
    world.environment.delenv("AWS_ACCESS_KEY_ID")
    world.environment.delenv("AWS_SECRET_ACCESS_KEY")


def mlflow_down(world: World, serve: Serve, nobody: str) -> None:
    world.set("run.tracking_uri", nobody)


def mlflow_refuses_the_password(world: World, serve: Serve, nobody: str) -> None:
    world.mlflow.routes.update(
        {"GET *": (401, b"You are not authenticated."), "POST *": (401, b"")}
    )
    del world.mlflow.routes[f"GET {MLFLOW}/experiments/get-by-name"]


def mlflow_is_read_only(world: World, serve: Serve, nobody: str) -> None:
    refusal = (403, b"Permission denied")
    world.mlflow.routes[f"POST {MLFLOW}/experiments/set-experiment-tag"] = refusal


def mlflow_is_a_web_site(world: World, serve: Serve, nobody: str) -> None:
    world.mlflow.routes[f"GET {MLFLOW}/experiments/get-by-name"] = (200, b"<html>welcome</html>")


def no_tracking(world: World, serve: Serve, nobody: str) -> None:
    world.set("run.tracking_uri", "none")


def teacher_refuses_the_key(world: World, serve: Serve, nobody: str) -> None:
    world.environment.setenv("OPENAI_API_KEY", "sk-another-key")


def no_teacher_key(world: World, serve: Serve, nobody: str) -> None:
    world.environment.delenv("OPENAI_API_KEY")


def teacher_says(world: World, serve: Serve, status: int, message: str, code: str) -> None:
    error = {"error": {"message": message, "code": code}}
    url = serve({"POST /v1/chat/completions": (status, error)}).url
    world.environment.setenv("OPENAI_BASE_URL", f"{url}/v1")


def teacher_without_the_model(world: World, serve: Serve, nobody: str) -> None:
    world.set("distill.teacher_model", "gpt-4x")
    teacher_says(world, serve, 404, "The model `gpt-4x` does not exist", "model_not_found")


def teacher_that_is_blind(world: World, serve: Serve, nobody: str) -> None:
    teacher_says(world, serve, 400, "image_url is not supported", "invalid_request")


def teacher_unpaid(world: World, serve: Serve, nobody: str) -> None:
    teacher_says(world, serve, 429, "You exceeded your quota", "insufficient_quota")


def teacher_unreachable(world: World, serve: Serve, nobody: str) -> None:
    world.environment.setenv("OPENAI_BASE_URL", f"{nobody}/v1")


def missing_checkpoint(world: World, serve: Serve, nobody: str) -> None:
    shutil.rmtree(world.folder / "base")


def pickled_weights(world: World, serve: Serve, nobody: str) -> None:
    (world.folder / "base" / "pytorch_model.bin").write_bytes(b"\x80\x04")


def missing_tensor(world: World, serve: Serve, nobody: str) -> None:
    path = world.folder / "base" / SECOND_SHARD
    save_file({name: t for name, t in load_file(path).items() if name != "head.weight"}, path)


def cut_weights(world: World, serve: Serve, nobody: str) -> None:
    path = world.folder / "base" / SECOND_SHARD
    path.write_bytes(path.read_bytes()[:-10])


def missing_dataset_folder(world: World, serve: Serve, nobody: str) -> None:
    world.settings["prepare"]["examples"] = [{"dataset": "chartqa", "source": "/nowhere"}]


def wrong_columns(world: World, serve: Serve, nobody: str) -> None:
    pq.write_table(pa.table({"text": ["?"]}), world.folder / "train-0.parquet")
    source = {"dataset": "chartqa", "source": str(world.folder)}
    world.settings["prepare"]["examples"] = [source]


def unknown_dataset(world: World, serve: Serve, nobody: str) -> None:
    world.settings["prepare"]["examples"] = [{"dataset": "chartqaa"}]


def unknown_split(world: World, serve: Serve, nobody: str) -> None:
    world.settings["prepare"]["benchmarks"] = [{"dataset": "bars", "split": "dev"}]


def training_on_a_benchmark(world: World, serve: Serve, nobody: str) -> None:
    fixture = Path(__file__).parents[1] / "fixtures/datasets/mathvista"
    source = {"dataset": "mathvista", "split": "testmini", "source": str(fixture)}
    world.settings["prepare"]["examples"] = [source]


def full_disk(world: World, serve: Serve, nobody: str) -> None:
    world.free_bytes = 200 * 10**6


def image_by_tag(world: World, serve: Serve, nobody: str) -> None:
    world.images["sft"] = "registry.test/chainsight-sft:1.2"


def api_unreachable(world: World, serve: Serve, nobody: str) -> None:
    world.api.url = nobody


def api_refuses(world: World, serve: Serve, nobody: str) -> None:
    world.api.routes["GET /version"] = (401, {"message": "Unauthorized"})


def no_trainer(world: World, serve: Serve, nobody: str) -> None:
    world.api.routes[f"GET {TRAINER}"] = (404, b"404 page not found")


def no_right(world: World, serve: Serve, nobody: str) -> None:
    world.kube.denied = {("create", "trainjobs"), ("get", "pods/log")}


def no_runtime(world: World, serve: Serve, nobody: str) -> None:
    world.set("platform.runtime", "torch-of-ours")


def no_secret(world: World, serve: Serve, nobody: str) -> None:
    world.set("platform.teacher_secret", "openai")


def no_gpu_nodes(world: World, serve: Serve, nobody: str) -> None:
    world.api.routes["GET /api/v1/nodes"] = (200, {"items": []})


def no_queue(world: World, serve: Serve, nobody: str) -> None:
    world.set("platform.queue", "team-a")


def no_kueue(world: World, serve: Serve, nobody: str) -> None:
    world.api.routes["GET /apis/kueue.x-k8s.io"] = (404, b"404 page not found")


FAULTS: list[tuple[Fault, str, str, str]] = [
    (unwritable_home, "home", "/proc/chainsight: cannot be written", "set run.home"),
    (unwritable_store, "store", "a-file/store: ", "set run.store to a folder of yours"),
    (store_without_conditional_writes, "store", "no conditional writes", "choose a store that has"),
    (missing_bucket, "store", "no bucket 'nobody-made-it'", "create it"),
    (store_unreachable, "store", "cannot be reached", "check AWS_ENDPOINT_URL_S3"),
    (no_store_credentials, "store", "no credentials found", "set AWS_ACCESS_KEY_ID"),
    (mlflow_down, "tracking", "MLflow cannot be reached", "start the server"),
    (mlflow_refuses_the_password, "tracking", "(401)", "MLFLOW_TRACKING_PASSWORD"),
    (mlflow_is_read_only, "tracking", "may not write to experiment 'chainsight'", "give it EDIT"),
    (mlflow_is_a_web_site, "tracking", "no MLflow server", "correct run.tracking_uri"),
    (no_tracking, "tracking", "register, cannot work without", "set run.tracking_uri"),
    (teacher_refuses_the_key, "teacher", "variable OPENAI_API_KEY", "set a valid key"),
    (no_teacher_key, "teacher", "OPENAI_API_KEY is not set", "platform.teacher_secret"),
    (teacher_without_the_model, "teacher", "no model 'gpt-4x'", "correct distill.teacher_model"),
    (teacher_that_is_blind, "teacher", "HTTP 400 (image_url is not", "that takes images"),
    (teacher_unpaid, "teacher", "is used up", "top it up"),
    (teacher_unreachable, "teacher", "cannot be reached", "open the network"),
    (missing_checkpoint, "model", "base: no such checkpoint folder", "correct model.base"),
    (pickled_weights, "model", "pytorch_model.bin: pickled weights", "save it again"),
    (missing_tensor, "model", f"{SECOND_SHARD}: tensor head.weight is missing", "copy the"),
    (cut_weights, "model", f"{SECOND_SHARD}: ", "copy it again"),
    (missing_dataset_folder, "dataset", "/nowhere: no such folder", "in section prepare"),
    (wrong_columns, "dataset", "has no column 'image', 'query'", "their columns"),
    (unknown_dataset, "dataset", "did you mean 'chartqa'?", "in section prepare"),
    (unknown_split, "dataset", "no split 'dev'", "in section prepare"),
    (training_on_a_benchmark, "config", "must not be trained on by its terms", "section prepare"),
    (full_disk, "disk", "0.2 GB free", "free space there"),
    (image_by_tag, "images", "sft: registry.test/chainsight-sft:1.2 is a tag", "IMAGE_SFT"),
    (api_unreachable, "cluster", "cannot be reached", "check the kubeconfig"),
    (api_refuses, "cluster", "refuses this account (HTTP 401: Unauthorized", "renew"),
    (no_trainer, "crds", "has no trainjobs and no trainingruntimes", "install Kubeflow Trainer"),
    (no_right, "permissions", "may not create trainjobs, get pods/log", "bind a Role"),
    (no_runtime, "runtime", "TrainingRuntime torch-of-ours in namespace team", "Helm chart"),
    (no_secret, "secrets", "secret openai in namespace team", "kubectl -n team create secret"),
    (no_queue, "queue", "LocalQueue team-a in namespace team is missing", "create it"),
    (no_kueue, "queue", "kueue.x-k8s.io is not defined", "install Kueue"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "what", "finding", "way_out"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS]
)
def test_a_planted_fault_is_the_only_failure_and_has_its_way_out(
    world: World, serve: Serve, nobody: str, fault: Fault, what: str, finding: str, way_out: str
) -> None:
    fault(world, serve, nobody)
    (failed,) = [check for check in world.findings() if check.level != "ok"]
    assert (failed.what, failed.level) == (what, "fail")
    assert finding in failed.finding
    assert way_out in failed.way_out
    assert "sk-a" not in failed.finding


def test_missing_gpu_nodes_are_a_warning_as_an_autoscaler_may_make_some(
    world: World, serve: Serve, nobody: str
) -> None:
    no_gpu_nodes(world, serve, nobody)
    (warned,) = [check for check in world.findings() if check.level != "ok"]
    assert (warned.what, warned.level) == ("gpu nodes", "warn")
    assert "0 nodes with nvidia.com/gpu x 8, 2 wanted" in warned.finding
    assert "add nodes" in warned.way_out


@pytest.fixture
def suspicious(moto: str) -> Iterator[None]:
    """A store that checks signatures from now on, until the test is over."""

    def reset(count: bytes) -> None:
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{moto}/moto-api/reset-auth", data=count, headers=plain)
        urllib.request.urlopen(request, timeout=5).close()

    reset(b"0")
    yield
    reset(b"inf")


def test_wrong_store_credentials_are_told(world: World, suspicious: None) -> None:
    world.in_a_pod()
    (failed,) = [check for check in world.findings() if check.level != "ok"]
    assert (failed.what, failed.level) == ("store", "fail")
    assert "access denied (InvalidAccessKeyId)" in failed.finding
    assert "must get, put, delete and list" in failed.way_out


def test_several_faults_are_told_together(world: World, serve: Serve, nobody: str) -> None:
    mlflow_down(world, serve, nobody)
    missing_checkpoint(world, serve, nobody)
    full_disk(world, serve, nobody)
    failed = [check.what for check in world.findings() if check.level == "fail"]
    assert failed == ["disk", "model", "tracking"]


def test_a_folder_without_the_right_to_write_is_told(world: World, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if _is_root(closed):
        pytest.skip("root may write everywhere")
    world.set("run.store", str(closed / "store"))
    (failed,) = [check for check in world.findings() if check.level != "ok"]
    assert "Permission denied" in failed.finding


def _is_root(folder: Path) -> bool:
    try:
        (folder / "x").write_text("")
    except PermissionError:
        return False
    return True
