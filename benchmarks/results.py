"""Results as a table on the screen, the same in Markdown, and one JSON file."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import flops
from benchmarks.measuring import OURS, Result, Took

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "flash-attn",
    "vllm",
    "chainsight",
)
HEADER = (
    "case",
    "side",
    "seconds",
    "ours faster by (rounds)",
    "goal",
    "backbone alone",
    "LM tokens",
    "tiles",
    "head rows",
    "images",
    "kept MB",
    "loss apart",
    "gradient apart",
)
UTILISATION = "useful TFLOP/s"
KEPT_GOAL = 0.6
"""The most of TRL's activation memory that ours may keep."""


def machine(device: str) -> dict[str, Any]:
    """What the figures depend on."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: seen for name in PACKAGES if (seen := _version(name))},
    }
    if device != "cpu":
        found["chip"] = torch.cuda.get_device_name()
        found["cuda"] = torch.version.cuda
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def cells(results: Sequence[Result], chip: str = "") -> list[list[str]]:
    """One row a contender; with a chip, its useful TFLOP/s and their share of the peak last."""
    return [
        [*_cells(result, name, one), *([_utilisation(result, one, chip)] if chip else [])]
        for result in results
        for name, one in result.took.items()
    ]


def _cells(result: Result, name: str, one: Took) -> list[str]:
    first = name == OURS
    counts, goal = one.counts, result.case.goal
    kept = one.peak_bytes or counts.saved_bytes
    return [
        result.case.name if first else "",
        name,
        one.refused or _seconds(one),
        "" if first else _ratio(result, name),
        f"{goal:.3g}x" if goal and name == next(iter(result.peers), "") else "",
        "" if first else _backbone(result, name),
        str(counts.lm_tokens),
        str(counts.vision_tiles),
        str(counts.head_rows),
        str(counts.images),
        f"{kept / 1e6:.0f}" if kept else "",
        "" if first or one.refused else f"{one.apart:.1e}",
        "" if first or one.gradient_apart is None else f"{one.gradient_apart:.1e}",
    ]


def _seconds(one: Took) -> str:
    """The median, and half of what lies between lowest and highest."""
    half = (max(one.seconds) - min(one.seconds)) / 2
    return f"{one.median:.3g} ± {half / one.median:.0%}"


def _ratio(result: Result, peer: str) -> str:
    found = result.ratio(peer)
    return "" if found is None else f"{found[0]:.2f}x ({found[1]:.2f} to {found[2]:.2f})"


def _backbone(result: Result, peer: str) -> str:
    """The same of the decoder stack's forward passes alone: no output layer, no tower."""
    ours, theirs = (result.took[name].backbone_seconds for name in (OURS, peer))
    if not ours or not theirs or not statistics.median(ours):
        return ""
    return f"{statistics.median(theirs) / statistics.median(ours):.2f}x"


def _utilisation(result: Result, one: Took, chip: str) -> str:
    useful = result.case.useful_flops
    if not useful or not one.seconds:
        return ""
    rate = useful / one.median
    peak = flops.peak(chip)
    return f"{rate / 1e12:.3g}" + (f" ({rate / peak:.1%})" if peak else "")


def kept(result: Result, peer: str) -> float | None:
    """Our share of a contender's activation memory."""
    ours, theirs = (
        one.peak_bytes or one.counts.saved_bytes for one in (result.took[OURS], result.took[peer])
    )
    return ours / theirs if ours and theirs else None


def verdicts(results: Sequence[Result]) -> list[str]:
    """A line for each goal and each difference that is too large."""
    lines = []
    for result in results:
        peer = next(iter(result.peers), None)
        found = result.ratio(peer) if peer else None
        if result.case.goal and found:
            missed = found[0] < result.case.goal
            where = f"; ours spends {result.where}" if missed else ""
            word = "MISSED" if missed else "met"
            goal = f"{found[0]:.2f}x of at least {result.case.goal:.3g}x"
            lines.append(f"{word}: {result.case.name}: {goal} over {peer}{where}")
        share = kept(result, peer) if peer and result.case.goal else None
        if share is not None:
            word = "met" if share <= KEPT_GOAL else "MISSED"
            goal = f"activation memory {share:.2f} of at most {KEPT_GOAL}"
            lines.append(f"{word}: {result.case.name}: {goal} of {peer}")
        if not result.agrees:
            lines.append(f"FAILED: {result.case.name}: the sides did not find the same")
    return lines


def show(results: Sequence[Result], about: Mapping[str, Any], title: str) -> None:
    """Print machine, table and verdicts."""
    console = Console(width=200)
    console.print(about)
    chip = about.get("chip", "")
    table = Table(title=title)
    for name in _header(chip):
        table.add_column(name)
    for row in cells(results, chip):
        table.add_row(*row)
    console.print(table)
    for line in verdicts(results):
        console.print(line, markup=False)


def write(
    results: Sequence[Result], about: Mapping[str, Any], folder: Path, name: str
) -> tuple[Path, Path]:
    """NAME.json and NAME.md."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {**about, "cases": [result.as_json() for result in results]}
    files = folder / f"{name}.json", folder / f"{name}.md"
    files[0].write_text(json.dumps(data, indent=2) + "\n")
    files[1].write_text(markdown(results, about))
    return files


def markdown(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    """Machine, table and verdicts for a document."""
    header = _header(about.get("chip", ""))
    rows = [header, ["---"] * len(header), *cells(results, about.get("chip", ""))]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    lines = "\n".join(f"* {line}" for line in verdicts(results))
    said = "\n".join(f"* {name}: {value}" for name, value in about.items())
    return f"{said}\n\n{table}\n\n{lines}\n"


def _header(chip: str) -> list[str]:
    return [*HEADER, UTILISATION] if chip else list(HEADER)
