"""What was built -> images.lock.json: name, digest and size of each image, and the budget kept.

    docker image inspect IMAGE... | record.py LOCK --tag TAG --torch WHICH --bases CPU GPU

reads what the engine says of the images and their bases. Exits with 1 when an image of a CPU
stage has outgrown its budget; the lock file is written all the same, for the figures.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CPU_STAGES = ("prepare", "distill", "pair", "register")
GPU_STAGES = ("sft", "sample", "dpo", "evaluate")
BUDGET_BYTES = 700_000_000
"""Unpacked size of a CPU image over its base."""

Inspected = Mapping[str, Any]


def record(inspected: Iterable[Inspected], tag: str, torch: str, bases: Sequence[str]) -> Any:
    """The lock file's content, from what the engine says of eight images and their bases."""
    found = list(inspected)
    sizes = {name: one["Size"] for one in found for name in (*(one["RepoTags"] or ()), one["Id"])}
    images = {}
    for stage in (*CPU_STAGES, *GPU_STAGES):
        one = next((one for one in found if _name(one, stage, tag)), None)
        if one is not None:
            base = sizes[bases[stage in GPU_STAGES]]
            name = _name(one, stage, tag)
            images[stage] = {
                "image": _digest(one, name) or name,
                "tag": name,
                "id": one["Id"],
                "bytes": one["Size"],
                "bytes_over_base": one["Size"] - base,
            }
    return {"tag": tag, "torch": torch, "images": images}


def _name(one: Inspected, stage: str, tag: str) -> str:
    """The name of an image under which it was built for `stage`, or nothing."""
    wanted = f"chainsight-{stage}:{tag}"
    names = [name for name in one["RepoTags"] or () if name.rpartition("/")[2] == wanted]
    return names[0] if names else ""


def _digest(one: Inspected, name: str) -> str:
    """name@digest; empty before the image is pushed: only a registry gives digests."""
    repository = name.rpartition(":")[0]
    known = [found for found in one["RepoDigests"] or () if found.partition("@")[0] == repository]
    return known[0] if known else ""


def over_budget(lock: Mapping[str, Any]) -> list[str]:
    """A sentence for each CPU image that is too large."""
    return [
        f"{stage}: {entry['bytes_over_base'] / 1e6:.0f} MB over its base, budget "
        f"{BUDGET_BYTES / 1e6:.0f} MB; see what grew with `docker history {entry['tag']}`"
        for stage, entry in lock["images"].items()
        if stage in CPU_STAGES and entry["bytes_over_base"] > BUDGET_BYTES
    ]


def table(lock: Mapping[str, Any]) -> str:
    """Sizes for people: MB over the base, and how the image is named."""
    rows = [
        f"{stage:<9} {entry['bytes_over_base'] / 1e6:6.0f} MB over its base  {entry['image']}"
        for stage, entry in lock["images"].items()
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
