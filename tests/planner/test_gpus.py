"""GPUs by the names that drivers, providers and clusters give them."""

import pytest

from chainsight.errors import ConfigError
from chainsight.planner.gpus import GPUS, MIB, Gpu, labelled, listed, named, stated


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("nvidia-h100-80gb", "H100"),
        ("NVIDIA-H200", "H200"),
        ("NVIDIA-GH200-480GB", "GH200"),
        ("NVIDIA-A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA-A100-SXM4-40GB", "A100 40GB"),
        ("nvidia-tesla-a100", "A100 40GB"),
        ("nvidia-a100-80gb", "A100 80GB"),
        ("nvidia-l4", "L4"),
        ("NVIDIA-L40S", "L40S"),
        ("NVIDIA-A10G", "A10G"),
        ("nvidia-tesla-t4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA-RTX-6000-Ada-Generation", "RTX 6000 Ada"),
        ("NVIDIA-RTX-A6000", "RTX A6000"),
        ("p5.48xlarge", "H100"),
        ("p5en.48xlarge", "H200"),
        ("p4d.24xlarge", "A100 40GB"),
        ("p4de.24xlarge", "A100 80GB"),
        ("g5.12xlarge", "A10G"),
        ("g6.xlarge", "L4"),
        ("g6e.xlarge", "L40S"),
        ("Standard_NC24ads_A100_v4", "A100 80GB"),
    ],
)
def test_a_gpu_is_known_by_its_name_label_or_instance_type(name: str, gpu: str) -> None:
    found = named(name)
    assert found is not None
    assert found.name == gpu


@pytest.mark.parametrize("name", ["nvidia", "m5.large", "true", "AMD Instinct", ""])
def test_what_names_no_gpu_is_none(name: str) -> None:
    assert named(name) is None


def test_each_gpu_of_the_table_finds_itself() -> None:
    assert [named(gpu.name) for gpu in GPUS.values()] == list(GPUS.values())


def test_labels_tell_the_memory_of_a_gpu_that_the_table_lacks() -> None:
    product = {"nvidia.com/gpu.product": "NVIDIA-X1000", "nvidia.com/gpu.memory": "65536"}
    assert labelled(product) == Gpu("NVIDIA-X1000", 64 * 2**30)
    assert labelled({"nvidia.com/gpu.memory": "1024"}) == Gpu("GPU", 2**30)
    assert labelled({"nvidia.com/gpu.product": "NVIDIA-X1000"}) is None
    assert labelled({}) is None


def test_measured_memory_goes_before_the_tables_and_products_before_instance_types() -> None:
    labels = {
        "node.kubernetes.io/instance-type": "p4d.24xlarge",
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nvidia.com/gpu.memory": "40000",  # half of it, by MIG
    }
    assert labelled(labels) == Gpu("H100", 40_000 * MIB, 989)
    del labels["nvidia.com/gpu.memory"]
    assert labelled(labels) == GPUS[r"h100|^p5\."]


def test_the_drivers_list_is_read() -> None:
    table = "NVIDIA L4, 23034 MiB\nNVIDIA X9, 1000 MiB\nNo devices were found\n"
    assert listed(table) == [
        Gpu("NVIDIA L4", 23_034 * MIB, 121),
        Gpu("NVIDIA X9", 1000 * MIB),
    ]


def test_the_setting_is_a_name_or_a_size() -> None:
    assert stated("A100 80GB").teraflops == 312
    assert stated("24GB").memory_bytes == 24 * 10**9
    assert stated("24 GiB").memory_bytes == stated("24Gi").memory_bytes == 24 * 2**30
    with pytest.raises(ConfigError, match="'Voodoo' is not known; write its memory"):
        stated("Voodoo")
