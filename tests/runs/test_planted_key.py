"""A teacher's key is in no file, database, log or output of a run, whoever repeats it.

Every process of the run writes the debug log of all libraries; the teacher stands behind a
gateway that puts its callers' key into answers and errors.
"""

import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import careless
import pyarrow.parquet
import pytest
from workplace import COMMAND, ROOT

from chainsight.teacher.keys import HIDDEN

KEY = "sk-proj-planted/0+Tm9ib2R5IG1heSBzZWUgdGhpcw"
CONFIG = "configs/smoke.yaml"
LOUD = """
import logging, os
logging.basicConfig(level=logging.DEBUG, filename=os.environ["LOUD_LOG"], filemode="a")
"""


class Run:
    """Commands of one run, in which every library says all that it ever says."""

    def __init__(self, folder: Path, url: str, **settings: Any) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "debug.log"
        (folder / "sitecustomize.py").write_text(LOUD)
        values = {"run.home": str(self.home), "distill.teacher": url, **settings}
        self.flags = [f"--set={name}={json.dumps(value)}" for name, value in values.items()]
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "LOUD_LOG": str(self.log),
            "OPENAI_LOG": "debug",
            "MLFLOW_TRACKING_URI": "",
        }

    def call(self, command: str, *flags: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            [*COMMAND, command, str(ROOT / CONFIG), *self.flags, *flags],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == exit_code, done.stderr
        with (self.folder / "shown.txt").open("a") as file:
            file.write(done.stdout + done.stderr)
        return done.stdout + done.stderr


def texts(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file below `folder` as text: tables and databases row by row."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path, path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            rows = pyarrow.parquet.read_table(path).to_pylist()
            yield path, "\n".join(json.dumps(row, default=repr, ensure_ascii=False) for row in rows)
        elif path.read_bytes().startswith(b"SQLite format 3"):
            with sqlite3.connect(path) as database:
                yield path, "\n".join(database.iterdump())
        assert path.suffix not in {".gz", ".zip", ".zst", ".bz2", ".xz"}, path


def needles(key: str) -> list[str]:
    """The key, a good part of it, and what it is within base64 (by what stands before it)."""
    inside = [base64.b64encode(before + key.encode()).decode() for before in (b"", b"+", b"++")]
    return [key, key[:24], key[-24:], *(digits[4:-4] for digits in inside)]


def check_absent(key: str, folder: Path) -> None:
    found = {
        (str(path.relative_to(folder)), needle)
        for path, text in texts(folder)
        for needle in needles(key)
        if needle in text
    }
    assert not found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has its examples."""
    run = Run(tmp_path_factory.mktemp("prepared"), "scripted")
    run.call("prepare", "--json")
    return run.folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "run"))


def test_a_planted_key_is_nowhere_after_a_run(folder: Path) -> None:
    with careless.serve(KEY) as teacher:
        run = Run(folder, teacher.url)
        run.environment |= {"OPENAI_API_KEY": KEY}
        run.call("doctor", "--spend", "--json")
        run.call("distill", "--json")
        run.call("report")
    assert set(teacher.echoed) == {"answered", "busy", "broken", "refused"}
    check_heard(run)
    check_absent(KEY, folder)


def test_a_key_from_a_file_is_nowhere_after_a_batch(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    with careless.serve(KEY) as teacher:
        batch = {"distill.mode": "batch", "distill.batch.poll_seconds": 0.1}
        run = Run(folder, teacher.url, **batch, **{"distill.api_key_file": str(file)})
        run.environment |= {"OPENAI_API_KEY": ""}
        run.call("distill", "--json")
    assert set(teacher.echoed) == {"in a batch"}
    check_heard(run)
    check_absent(KEY, folder)


def check_heard(run: Run) -> None:
    """The echoes arrived and the log was loud: else the search would prove nothing."""
    everything = "\n".join(text for _, text in texts(run.home))
    assert f"Bearer {HIDDEN} or Basic " in everything
    assert "SQLite format 3" in everything
    log = run.log.read_text()
    assert re.search(r"^DEBUG:openai\._base_client:", log, re.MULTILINE)
    assert re.search(r"^DEBUG:httpcore\w*\.", log, re.MULTILINE)
    assert f"Bearer {HIDDEN} is my guest" in log + (run.folder / "shown.txt").read_text()


def test_a_refused_key_is_not_shown(folder: Path) -> None:
    with careless.serve("sk-another-key-0123456789") as teacher:
        run = Run(folder, teacher.url)
        run.environment |= {"OPENAI_API_KEY": KEY}
        shown = run.call("distill", exit_code=1)
    assert "refuses the key in the environment variable OPENAI_API_KEY" in shown
    assert "Traceback" not in shown
    check_absent(KEY, folder)


@pytest.mark.slow
def test_a_planted_key_is_nowhere_after_the_whole_pipeline(tmp_path: Path) -> None:
    with careless.serve(KEY) as teacher:
        run = Run(tmp_path, teacher.url)
        run.environment |= {"OPENAI_API_KEY": KEY}
        run.call("run", "--json")
    check_heard(run)
    check_absent(KEY, tmp_path)
