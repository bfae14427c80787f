"""A small world for the stages that need a model: 6 examples and their rationales."""

from pathlib import Path

import pytest

from chainsight import records
from chainsight.config import ModelSection
from chainsight.context import Context
from chainsight.records import Example, Rationale


class Interrupted(Exception):  # noqa: N818 - no error
    """Stands for a kill."""


class _Task:
    def __init__(self, allowed):
        self.allowed = allowed

    def advance(self, count=1):
        self.allowed -= count
        if self.allowed < 0:
            raise Interrupted


class Interrupting:
    """A progress that ends the work after so many units of the task `title`."""

    def __init__(self, title, allowed):
        self.title, self.allowed = title, allowed

    def task(self, title, total, unit, done=0):
        from contextlib import nullcontext

        return nullcontext(_Task(self.allowed if title == self.title else 10**9))


class World:
    def __init__(self, root: Path, student: Path, png):
        self.root, self.student = root, student
        self.examples = [
            Example(f"toy/train/{i}", "toy", "train", f"What is {i} and {i}?", (str(2 * i),),
                    "exact_match", (png((40 * i, 0, 99), (32, 32) if i % 2 else (64, 24)),))
            for i in range(6)
        ]  # fmt: skip
        self.rationales = [
            Rationale(
                e.id, f"I see {i}.\n\n### Answer: {2 * i}", str(2 * i), "marker", "t", 1, 1, 0.0
            )
            for i, e in enumerate(self.examples)
        ]
        self.write("examples", self.examples, Example)
        self.write("rationales", self.rationales, Rationale)

    def write(self, kind, rows, record):
        records.write(self.root / kind / f"{kind}.parquet", rows, record)

    def folder(self, name):
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def context(self, name, progress=None, **model):
        given = {} if progress is None else {"progress": progress}
        section = ModelSection(base=str(self.student), **model)
        return Context(self.folder(f"work/{name}"), self.folder("ledger"), 5, section, **given)


@pytest.fixture
def world(tmp_path, student_folder, png):
    return World(tmp_path, student_folder, png)


@pytest.fixture
def interrupting():
    return Interrupting


@pytest.fixture
def interrupted():
    return Interrupted


@pytest.fixture
def contents():
    """Every file of a folder by name: what must be equal to the last byte."""

    def read(folder):
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    return read
