"""Common GPUs: what nvidia-smi says of their memory, and their dense bfloat16 peak.

Peaks are NVIDIA's data sheets' (those with sparsity halved); memory is the total that the driver
reports, a little below the number in the name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chainsight.errors import ConfigError

MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_bytes: int
    teraflops: float | None = None
    """Dense bfloat16 (float16 where there is none), 10^12 a second; None: not known."""


def _gpu(name: str, mib: int, teraflops: float) -> Gpu:
    return Gpu(name, mib * MIB, teraflops)


GPUS: Mapping[str, Gpu] = {
    pattern: _gpu(name, mib, teraflops)
    for pattern, name, mib, teraflops in (
        (r"b200|p6-b200", "B200", 182_642, 2250),
        (r"gh200", "GH200", 97_871, 989),
        (r"h200|^p5e", "H200", 143_771, 989),
        (r"h100.*nvl", "H100 NVL", 95_830, 835),
        (r"h100.*pcie", "H100 PCIe", 81_559, 756),
        (r"h100|^p5\.", "H100", 81_559, 989),
        (r"a100.*80|^p4de\.|nc\d+ads_a100", "A100 80GB", 81_920, 312),
        (r"a100|^p4d\.", "A100 40GB", 40_960, 312),
        (r"l40s|^g6e\.", "L40S", 46_068, 362),
        (r"l40", "L40", 46_068, 181),
        (r"\bl4\b|nvidia-l4|^g6\.", "L4", 23_034, 121),
        (r"a10g|^g5\.", "A10G", 23_028, 70),
        (r"a10\b", "A10", 23_028, 125),
        (r"rtx.?6000.?ada", "RTX 6000 Ada", 49_140, 364),
        (r"a6000", "RTX A6000", 49_140, 155),
        (r"5090", "RTX 5090", 32_607, 210),
        (r"4090", "RTX 4090", 24_564, 165),
        (r"3090", "RTX 3090", 24_576, 71),
        (r"v100.*32", "V100 32GB", 32_768, 125),
        (r"v100|^p3\.", "V100 16GB", 16_384, 125),
        (r"\bt4\b|tesla-t4|^g4dn\.", "T4", 15_360, 65),
    )
}
"""By a pattern of product names, of providers' labels and of instance types; the first counts."""

LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "node.kubernetes.io/instance-type",
)
"""Labels of nodes that tell the GPU: NVIDIA's feature discovery, GKE, the instance type."""
MEMORY_LABEL = "nvidia.com/gpu.memory"
"""NVIDIA's feature discovery: MiB of each GPU."""


def named(name: str) -> Gpu | None:
    """The GPU of a product name, a provider's label or an instance type."""
    lowered = name.lower()
    return next((gpu for pattern, gpu in GPUS.items() if re.search(pattern, lowered)), None)


def labelled(labels: Mapping[str, str]) -> Gpu | None:
    """The GPU that a node's labels, or a selector of nodes, tell of."""
    names = [labels[label] for label in LABELS if label in labels]
    found = next((gpu for gpu in map(named, names) if gpu), None)
    mib = labels.get(MEMORY_LABEL, "")
    if not mib.isdecimal() or not int(mib):
        return found
    if found:
        return replace(found, memory_bytes=int(mib) * MIB)
    return Gpu(names[0] if names else "GPU", int(mib) * MIB)


def listed(table: str) -> list[Gpu]:
    """The GPUs in what `nvidia-smi --query-gpu=name,memory.total --format=csv,noheader` says."""
    made = []
    for line in table.splitlines():
        found = re.fullmatch(r"\s*(.+?)\s*,\s*(\d+)\s*MiB\s*", line)
        if found:
            known = named(found[1])
            made.append(Gpu(found[1], int(found[2]) * MIB, known.teraflops if known else None))
    return made


SIZE = re.compile(r"(\d+)\s*(GB|Gi|GiB)", re.IGNORECASE)


def stated(text: str) -> Gpu:
    """The GPU of the setting `platform.gpu`: a name that is known, or so many GB.

    Raises:
        ConfigError: neither.
    """
    size = SIZE.fullmatch(text.strip())
    if size:
        unit = 10**9 if size[2].upper() == "GB" else 2**30
        return Gpu(text, int(size[1]) * unit)
    found = named(text)
    if found is None:
        raise ConfigError(
            f"platform.gpu {text!r} is not known; write its memory (80GB), or one of "
            f"{', '.join(gpu.name for gpu in GPUS.values())}"
        )
    return found
