"""What goes wrong at the user's end is one clear message at the command line, never a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
CONFIG = """
run: {{name: try, home: {home}, tracking_uri: none}}
prepare:
  examples: [{source}]
  benchmarks: [{{dataset: bars, split: test, limit: 4}}]
distill: {{teacher: "{teacher}", max_retries: 1}}
"""


def call(tmp_path: Path, stage: str, *, source: str, teacher: str = "scripted") -> str:
    """Run one stage, expect it to end in 1 or 2, and give what it printed."""
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(home=tmp_path / "home", source=source, teacher=teacher))
    done = subprocess.run(
        [sys.executable, "-m", "chainsight", stage, str(config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("distill: ")]
    assert said[0].startswith("error ")
    return "\n".join(said)


def prepared(tmp_path: Path) -> None:
    """Leave examples in the store, for the stage that is tested."""
    config = tmp_path / "run.yaml"
    source = "{dataset: bars, limit: 4}"
    text = CONFIG.format(home=tmp_path / "home", source=source, teacher="scripted")
    config.write_text(text)
    command = [sys.executable, "-m", "chainsight", "prepare", str(config)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def test_an_unknown_dataset_is_named_with_the_known_ones(tmp_path: Path) -> None:
    message = call(tmp_path, "prepare", source="{dataset: chartqaa}")
    assert "chartqaa" in message
    assert "mathvision" in message


def test_a_wrong_column_is_named_with_what_was_found(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["?"]}), tmp_path / "train-0.parquet")
    message = call(tmp_path, "prepare", source=f"{{dataset: chartqa, source: {tmp_path}}}")
    assert "query" in message
    assert "question" in message


def test_a_folder_of_bad_rows_ends_in_counts_and_the_setting(tmp_path: Path) -> None:
    rows = {
        "image": [{"bytes": b"<html>", "path": None}] * 3,
        "query": ["How many?"] * 3,
        "label": [["3"]] * 3,
        "human_or_machine": [0] * 3,
    }
    pq.write_table(pa.table(rows), tmp_path / "train-0.parquet")
    message = call(tmp_path, "prepare", source=f"{{dataset: chartqa, source: {tmp_path}}}")
    assert "max_quarantine_rate" in message


def test_a_teacher_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    prepared(tmp_path)
    teacher = "http://127.0.0.1:9/v1"
    message = call(tmp_path, "distill", source="{dataset: bars, limit: 4}", teacher=teacher)
    assert message.count(teacher) == 1


def test_a_flipped_bit_in_the_store_is_found(tmp_path: Path) -> None:
    prepared(tmp_path)
    (path,) = (tmp_path / "home" / "store" / "examples").glob("*/attempt-*/examples.parquet")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    message = call(tmp_path, "distill", source="{dataset: bars, limit: 4}")
    assert "examples.parquet" in message
    assert "sha256" in message


@pytest.mark.parametrize("stage", ["sft", "register"])
def test_a_stage_without_its_input_says_what_to_run(tmp_path: Path, stage: str) -> None:
    message = call(tmp_path, stage, source="{dataset: bars, limit: 4}")
    assert "is not there yet: run `chainsight" in message


def test_the_report_of_a_broken_manifest_names_it(tmp_path: Path) -> None:
    prepared(tmp_path)
    (path,) = (tmp_path / "home" / "store" / "examples").glob("*/manifest.json")
    path.chmod(0o644)
    path.write_text(json.dumps({"format": 1}))
    assert "manifest.json" in call(tmp_path, "report", source="{dataset: bars, limit: 4}")
