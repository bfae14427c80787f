"""Checkpoint folders: looked at by their headers, without torch and without reading weights."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chainsight.config import ModelSection
from chainsight.doctor.check import Check
from chainsight.doctor.checkpoints import model
from chainsight.vlm.files import BUILTIN


def look(base: Path) -> Check:
    (check,) = model(ModelSection(base=str(base)), "pod")
    return check


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A sealed checkpoint of one file."""
    shutil.copytree(BUILTIN, tmp_path / "ours")
    return tmp_path / "ours"


def test_a_sealed_checkpoint_is_sound(ours: Path) -> None:
    check = look(ours)
    assert (check.level, "115 tensors" in check.finding) == ("ok", True)


def test_a_sealed_file_of_another_size_is_told(ours: Path) -> None:
    (ours / "tokenizer.json").write_text("{}")
    check = look(ours)
    assert check.level == "fail"
    assert "tokenizer.json: 2 bytes, chainsight.json says" in check.finding
    assert check.way_out == "copy it again"


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", b"x" * 100])
def test_what_is_no_safetensors_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(content)
    check = look(tmp_path)
    assert check.level == "fail"
    assert "model.safetensors: damaged" in check.finding


def test_a_folder_without_a_configuration_is_told(tmp_path: Path) -> None:
    check = look(tmp_path)
    assert "no config.json" in check.finding
    assert "save_pretrained" in check.way_out


def test_code_in_a_checkpoint_is_told(ours: Path) -> None:
    (ours / "modeling.py").write_text("")
    assert "code in a checkpoint is refused" in look(ours).finding


def test_an_adapter_is_a_checkpoint_and_a_folder_that_is_both_is_none(
    tmp_path: Path, ours: Path
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    shutil.copy(ours / "model.safetensors", folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert look(folder).level == "ok"
    (folder / "config.json").write_text("{}")
    assert "config.json and adapter_config.json" in look(folder).finding


def test_looking_imports_no_torch_and_no_client_of_a_service() -> None:
    heavy = ["torch", "transformers", "mlflow", "openai", "kubernetes", "kfp", "boto3"]
    code = (
        "import sys; from chainsight.config import load_config; from chainsight.doctor import "
        "examine; examine(load_config('configs/demo.yaml')); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"
