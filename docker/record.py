"""What was built -> images.lock.json: name, digest and size of each image, and the budget kept.

    docker image inspect IMAGE... | record.py LOCK --tag TAG --torch WHICH --bases CPU GPU

reads what the engine says of the images and their bases. Exits with 1 when an image on the
CPU base has outgrown its budget; the lock file is written all the same, for the figures.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CPU_STAGES = ("prepare", "distill", "pair", "register")
GPU_STAGES = ("sft", "sample", "dpo", "evaluate")
SERVICES = ("mlflow",)
"""What runs beside the stages, on the CPU base; an object of its own in the lock file."""
BUDGET_BYTES = 700_000_000
"""Unpacked size of an image over the CPU base."""

Inspected = Mapping[str, Any]


def record(inspected: Iterable[Inspected], tag: str, torch: str, bases: Sequence[str]) -> Any:
    """The lock file's content, from what the engine says of nine images and their bases."""
    found = list(inspected)
    sizes = {name: one["Size"] for one in found for name in (*(one["RepoTags"] or ()), one["Id"])}

    def entries(targets: Iterable[str]) -> dict[str, Any]:
        entries = {}
        for target in targets:
            one = next((one for one in found if _name(one, target, tag)), None)
            if one is not None:
                base = sizes[bases[target in GPU_STAGES]]
                entries[target] = _entry(one, _name(one, target, tag), base)
        return entries

    images, services = entries((*CPU_STAGES, *GPU_STAGES)), entries(SERVICES)
    return {"tag": tag, "torch": torch, "images": images, "services": services}


def _entry(one: Inspected, name: str, base: int) -> dict[str, Any]:
    """How an image is named, and its size; `base` is its base's."""
    return {
        "image": _digest(one, name) or name,
        "tag": name,
        "id": one["Id"],
        "bytes": one["Size"],
        "bytes_over_base": one["Size"] - base,
    }


def _name(one: Inspected, target: str, tag: str) -> str:
    """The name under which an image was built for a stage or service, or nothing."""
    wanted = f"chainsight-{target}:{tag}"
    names = [name for name in one["RepoTags"] or () if name.rpartition("/")[2] == wanted]
    return names[0] if names else ""


def _digest(one: Inspected, name: str) -> str:
    """name@digest; empty before the image is pushed: only a registry gives digests."""
    repository = name.rpartition(":")[0]
    known = [found for found in one["RepoDigests"] or () if found.partition("@")[0] == repository]
    return known[0] if known else ""


def over_budget(lock: Mapping[str, Any]) -> list[str]:
    """A sentence for each image on the CPU base that is too large."""
    entries = lock["images"] | lock["services"]
    return [
        f"{target}: {entry['bytes_over_base'] / 1e6:.0f} MB over its base, budget "
        f"{BUDGET_BYTES / 1e6:.0f} MB; see what grew with `docker history {entry['tag']}`"
        for target, entry in entries.items()
        if target not in GPU_STAGES and entry["bytes_over_base"] > BUDGET_BYTES
    ]


def table(lock: Mapping[str, Any]) -> str:
    """Sizes for people: MB over the base, and how the image is named."""
    rows = [
        f"{target:<9} {entry['bytes_over_base'] / 1e6:6.0f} MB over its base  {entry['image']}"
        for target, entry in (lock["images"] | lock["services"]).items()
    ]
    return "\n".join(rows)


def main() -> int:
    """Read standard input, write the lock file, judge the sizes."""
    parser = argparse.ArgumentParser(description="Write images.lock.json")
    parser.add_argument("lock", type=Path)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--bases", nargs=2, required=True, metavar=("CPU", "GPU"))
    given = parser.parse_args()
    lock = record(json.load(sys.stdin), given.tag, given.torch, given.bases)
    given.lock.write_text(json.dumps(lock, indent=2) + "\n", encoding="utf-8")
    print(table(lock))
    faults = over_budget(lock)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
