"""The check `memory`: which GPU is looked at, what is said of it, and what when nobody knows."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainsight.config import RunConfig
from chainsight.doctor import Cluster
from chainsight.doctor.check import Check
from chainsight.doctor.cluster import gpu_labels
from chainsight.doctor.memory import Hardware, hardware_of, memory

World, Serve = Any, Callable[[dict[str, Any]], Any]
PAPERS = "Lin-Chen/open-llava-next-llama3-8b"
H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}


def config(**sections: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "model": {"base": PAPERS, "dtype": "bfloat16", "gradient_checkpointing": True},
        "prepare": {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars"}]},
        "dpo": {"device_batch_size": 1},
    }
    return RunConfig.model_validate(settings | sections)


def look(where: Any = "pod", labels: Any = None, **sections: Any) -> list[Check]:
    return list(memory(config(**sections), where, labels))


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`driver(text)` puts an nvidia-smi on the path that says so."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(text: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return install


def test_the_papers_run_fits_eight_h100() -> None:
    checks = look(labels=lambda: [H100])
    assert {check.what for check in checks} == {"memory"}
    assert [check.level for check in checks] == ["ok"] * 4
    stages = [check.finding.split()[0] for check in checks]
    assert stages == ["sft", "sample", "dpo", "evaluate"]
    assert "of 85.5 GB (H100 x 8, fsdp)" in checks[0].finding
    assert "of 85.5 GB (H100)" in checks[1].finding  # one a shard
    assert "weights 4.2, gradients 4.2, AdamW 8.4" in checks[0].finding


def test_what_does_not_fit_fails_with_what_to_change_and_where_that_leads() -> None:
    sft, sample, dpo, evaluate = look(platform={"gpu": "24GB", "gpus": 1})
    assert [sft.level, sample.level, dpo.level] == ["fail"] * 3
    assert evaluate.level == "warn"
    assert sft.finding.startswith("sft does not fit: ")
    assert "dpo.tuning: lora (23.4 GB)" in dpo.way_out
    assert sample.way_out.startswith("set sample.batch_size: 1 (")


def test_a_24_gb_card_trains_adapters() -> None:
    lora = {"tuning": "lora", "device_batch_size": 1}
    checks = look(platform={"gpu": "RTX 4090", "gpus": 1}, sft=lora, dpo=lora)
    assert [check.level for check in checks if check.finding[:3] in ("sft", "dpo")] == ["ok", "ok"]


def test_what_fits_without_its_margin_or_its_longest_rows_is_a_warning() -> None:
    (tight, *_) = look(platform={"gpu": "41GB"})
    assert (tight.level, "rows of the usual size barely fit" in tight.finding) == ("warn", True)
    (rarely, *_) = look(platform={"gpu": "44GB"})
    assert (rarely.level, "the longest may not fit" in rarely.finding) == ("warn", True)
    assert "sft.device_batch_size" in rarely.way_out


def test_a_gpu_that_nobody_tells_of_is_a_warning_with_the_figure() -> None:
    checks = look()
    assert {check.level for check in checks} == {"warn"}
    assert "which GPU it gets is not known" in checks[0].finding
    assert "a GPU x 8, fsdp" in checks[0].finding
    assert checks[0].way_out.startswith("set platform.gpu (")
    huge = look(platform={"gpus": 1})
    assert "set platform.gpu (B200 would do)" in huge[0].way_out
    copies = {"parallel": "ddp"}
    assert (
        "no common one is large enough"
        in look(platform=copies, sft={"device_batch_size": 32})[0].way_out
    )


def test_published_chains_need_no_gpu_to_be_sampled() -> None:
    checks = look(sample={"source": "published"}, platform={"gpu": "H100"})
    assert [check.finding.split()[0] for check in checks] == ["sft", "dpo", "evaluate"]


def test_an_unknown_setting_or_architecture_is_told(tmp_path: Path) -> None:
    (check,) = look(platform={"gpu": "Voodoo"})
    assert (check.level, check.finding) == ("fail", "platform.gpu 'Voodoo' is not known")
    (tmp_path / "config.json").write_text('{"model_type": "idefics3"}')
    (check,) = look(model={"base": str(tmp_path)})
    assert (check.level, "'idefics3'" in check.finding) == ("warn", True)


def test_a_base_that_is_nowhere_is_left_to_the_check_of_the_model() -> None:
    assert look(model={"base": "/nowhere"}) == []


def test_the_setting_goes_before_the_cluster_the_cluster_before_the_selector() -> None:
    selector = {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    found = [
        hardware_of(config(platform=platform), "pod", labels).gpu
        for platform, labels in (
            ({"gpu": "H200", "node_selector": selector}, lambda: [H100]),
            ({"node_selector": selector}, lambda: [H100]),
            ({"node_selector": selector}, list),
            ({}, list),
        )
    ]
    assert [gpu and gpu.name for gpu in found] == ["H200", "H100", "L4", None]


def test_of_different_nodes_the_smallest_gpu_counts() -> None:
    def labels() -> list[dict[str, str]]:
        return [H100, {"nvidia.com/gpu.product": "NVIDIA-L4"}, {}]

    found = hardware_of(config(), "pod", labels)
    assert found.gpu is not None
    assert (found.gpu.name, found.number) == ("L4", 8)


def test_this_machines_gpus_count_when_the_run_may_be_here(driver: Callable[[str], None]) -> None:
    driver("echo 'NVIDIA H100, 81559 MiB'; echo 'NVIDIA L4, 23034 MiB'")
    here = hardware_of(config(), "here", None)
    assert here.gpu is not None
    assert (here.gpu.name, here.number) == ("NVIDIA L4", 2)
    assert hardware_of(config(platform={"processes": 1}), "task", None).number == 1
    assert hardware_of(config(), "pod", None) == Hardware(None, 8)


def test_a_driver_that_fails_is_no_gpu(driver: Callable[[str], None]) -> None:
    driver("exit 9")
    assert hardware_of(config(), "here", None) == Hardware(None, 8)


def test_a_float32_run_without_a_gpu_is_this_machines(driver: Callable[[str], None]) -> None:
    found = hardware_of(config(model={}), "here", None)
    assert found.gpu is not None
    assert found.gpu.name == "this machine, no GPU"
    assert found.gpu.memory_bytes > 2**28
    assert found.number == 1


def test_the_clusters_nodes_tell_their_gpus(world: World) -> None:
    nodes = world.api.routes["GET /api/v1/nodes"][1]["items"]
    for node in nodes:
        node["metadata"] = {"labels": H100}
    run = RunConfig.model_validate(world.settings)
    assert gpu_labels(run, world.cluster()) == [H100, H100]  # the first node has no GPU
    nodes[1]["spec"]["taints"] = [{"key": "somebody-elses", "effect": "NoSchedule"}]
    assert gpu_labels(run, world.cluster()) == [H100]
    world.api.routes["GET /api/v1/nodes"] = (403, {"message": "no"})
    assert gpu_labels(run, world.cluster()) == []
    assert gpu_labels(run, Cluster(kubeconfig=Path("/nowhere"))) == []


def test_the_examination_looks_at_the_clusters_gpus(world: World) -> None:
    world.set("platform.gpu", None)
    small = {"nvidia.com/gpu.product": "X", "nvidia.com/gpu.memory": "100"}
    for node in world.api.routes["GET /api/v1/nodes"][1]["items"]:
        node["metadata"] = {"labels": small}
    found = [check for check in world.findings() if check.what == "memory"]
    assert {check.level for check in found} == {"fail"}
    assert "of 0.1 GB (X" in found[0].finding


def test_a_hub_models_configuration_is_read_and_kept_nowhere(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = json.dumps({"model_type": "llava"}).encode()
    head = {"ETag": '"abc"', "X-Repo-Commit": "c" * 40}
    path = "/owner/vlm/resolve/main/config.json"
    server = serve({f"HEAD {path}": (200, content, head), f"GET {path}": (200, content, head)})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    checks = look(model={"base": "owner/vlm"}, platform={"gpu": "H200"})
    assert (checks[0].level, checks[0].finding.split(":")[0]) == ("ok", "sft fits")
    assert list(tmp_path.iterdir()) == []
    server.routes.clear()
    (check,) = look(model={"base": "owner/vlm"})
    assert (check.level, "its config.json is not to be had" in check.finding) == ("warn", True)
