"""Whether model, batch and pictures fit the GPUs, from configurations alone, without torch."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainsight.config import ModelSection, PlatformSection, RunConfig
from chainsight.doctor import hub
from chainsight.doctor.check import Check, Checks, Where, fail, ok, told, warn
from chainsight.errors import CheckpointError, ConfigError
from chainsight.planner import gpus, shapes
from chainsight.planner.advice import Change, Plan, advice
from chainsight.planner.gpus import Gpu
from chainsight.planner.memory import STAGES, Need, Processes
from chainsight.vlm import files

LLAVA_LLAMA3_8B = {
    "model_type": "llava_next",
    "text_config": {
        "model_type": "llama",
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
KNOWN = {"Lin-Chen/open-llava-next-llama3-8b": LLAVA_LLAMA3_8B}
"""Checkpoints whose own config.json is not in transformers' words."""

NodeLabels = Callable[[], Sequence[dict[str, str]]]
"""Asks a cluster for the labels of the nodes that GPU pods may run on."""


@dataclass(frozen=True)
class Hardware:
    """What a run would be on."""

    gpu: Gpu | None
    """None: not known."""
    number: int
    """Of a training."""


def memory(config: RunConfig, where: Where, node_labels: NodeLabels | None = None) -> Checks:
    """A finding for each stage that computes with the model."""
    if not _can_be_looked_up(config.model.base):
        return  # which `checkpoints.model` tells
    try:
        shape = shapes.of(configuration(config.model))
    except CheckpointError as error:
        yield told("memory", error, "warn")
        return
    try:
        hardware = hardware_of(config, where, node_labels)
    except ConfigError as error:
        yield told("memory", error)
        return
    processes = Processes(hardware.number, config.platform.parallel)
    for stage in STAGES:
        if stage != "sample" or config.sample.source == "policy":
            yield _finding(Plan(stage, shape, config, processes), hardware.gpu)


def configuration(model: ModelSection) -> dict[str, Any]:
    """The base model's config.json, asked of the hub if it is there alone.

    Raises:
        CheckpointError: it cannot be read or had.
    """
    if model.base in KNOWN:
        return KNOWN[model.base]
    if _is_here(model.base):
        found = files.read_json(files.resolve(model.base) / "config.json")
    else:
        found = hub.config(model.base, model.revision)
    if not found:
        raise CheckpointError(
            f"{model.base}: its config.json is not to be had, so its size is not known; run the "
            "doctor where the hub can be reached, or give a local folder"
        )
    return found


def _is_here(base: str) -> bool:
    return base == "builtin:tiny" or Path(base).is_dir()


def _can_be_looked_up(base: str) -> bool:
    return _is_here(base) or files.HUB_ID.fullmatch(base) is not None


# --- which GPU -------------------------------------------------------------------------------


def hardware_of(config: RunConfig, where: Where, node_labels: NodeLabels | None) -> Hardware:
    """By the first that tells: the setting, the cluster's nodes, the node selector, this machine.

    Without any GPU a float32 run stays here, on the CPU.
    """
    platform = config.platform
    nodes = platform.nodes if platform.launcher == "trainjob" else 1
    away = platform.processes or platform.gpus * nodes
    stated = _stated(platform, node_labels)
    if stated:
        return Hardware(stated, away)
    if where == "pod" or node_labels is not None:
        return Hardware(None, away)
    here = gpus.listed(_nvidia_smi())
    if here:
        smallest = min(here, key=lambda gpu: gpu.memory_bytes)
        return Hardware(smallest, platform.processes or len(here))
    if config.model.dtype == "float32":
        return Hardware(Gpu("this machine, no GPU", _installed()), platform.processes or 1)
    return Hardware(None, away)


def _stated(platform: PlatformSection, node_labels: NodeLabels | None) -> Gpu | None:
    """What needs no look at this machine."""
    if platform.gpu:
        return gpus.stated(platform.gpu)
    if node_labels is not None:
        found = [gpu for labels in node_labels() if (gpu := gpus.labelled(labels))]
        if found:
            return min(found, key=lambda gpu: gpu.memory_bytes)
    return gpus.labelled(platform.node_selector)


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    asked = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(  # noqa: S603 - the program that the PATH names
            asked, capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _installed() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# --- findings --------------------------------------------------------------------------------


def _finding(plan: Plan, gpu: Gpu | None) -> Check:
    usual, longest = plan.usual, plan.longest
    if gpu is None:
        return warn(
            "memory",
            f"{plan.stage} needs {_gb(usual.total)} GB a GPU{_number(plan)}, {_gb(longest.total)} "
            f"for the longest rows; which GPU it gets is not known. {_parts(usual)}",
            f"set platform.gpu ({_smallest(longest)}), or look at the cluster with --cluster",
        )
    room = gpu.memory_bytes
    said = (
        f"{_gb(usual.total)} of {_gb(room)} GB ({gpu.name}{_number(plan)}), "
        f"{_gb(longest.total)} for the longest rows. {_parts(usual)}"
    )
    if longest.total <= room:
        return ok("memory", f"{plan.stage} fits: {said}")
    way_out = _way_out(advice(plan, room), room)
    if usual.net > room:
        return fail("memory", f"{plan.stage} does not fit: {said}", way_out)
    which = "rows of the usual size barely fit" if usual.total > room else "the longest may not fit"
    return warn("memory", f"{plan.stage}: {which}: {said}", way_out)


def _number(plan: Plan) -> str:
    number = plan.processes.number if plan.stage in ("sft", "dpo") else 1
    return f" x {number}, {plan.processes.parallel}" if number > 1 else ""


def _parts(need: Need) -> str:
    parts = ", ".join(f"{name} {_gb(size)}" for name, size in need.parts.items() if size >= 5e7)
    return f"Of it {parts}, margin {_gb(need.total - need.net)}"


def _way_out(steps: Sequence[tuple[Change, Need]], room: int) -> str:
    """Each change with what the longest rows need after it."""
    if not steps:
        return "take a GPU with more memory"
    shown = [f"{change.setting} ({_gb(need.total)} GB)" for change, need in steps]
    enough = steps[-1][1].total <= room
    return f"set {', then '.join(shown)}" + ("" if enough else "; or take a GPU with more memory")


def _smallest(need: Need) -> str:
    """The common GPU with the least memory that is enough."""
    fitting = [gpu for gpu in gpus.GPUS.values() if gpu.memory_bytes >= need.total]
    if not fitting:
        return "no common one is large enough"
    return f"{min(fitting, key=lambda gpu: gpu.memory_bytes).name} would do"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}"
