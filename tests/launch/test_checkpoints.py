"""Checkpoints in the store: whole or not there, verified, and never in the training's way."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chainsight.errors import StoreError
from chainsight.job import Job
from chainsight.launch.checkpoints import COMPLETE, LIST, Mirror, mirrored, wanted
from chainsight.store import LocalStore

KEY = "ab12" * 16


class Held(LocalStore):
    """A store that waits before each file until `go` is set, and fails where it is told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go, self.fails = threading.Event(), False
        self.go.set()

    def put(self, path: Path, name: str) -> None:
        self.go.wait(10)
        if self.fails:
            raise StoreError("the store is away")
        super().put(path, name)


@pytest.fixture
def store(tmp_path: Path) -> Held:
    return Held(tmp_path / "store")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def mirror(store: Held, said: list[str]) -> Mirror:
    return Mirror(store, KEY, said.append)


def checkpoint(folder: Path, step: int) -> Path:
    made = folder / f"checkpoint-{step}"
    (made / "deep").mkdir(parents=True)
    (made / "weights").write_text(f"weights of {step}")
    (made / "deep/optimizer.pt").write_text(f"optimizer of {step}")
    (made / COMPLETE).touch()
    return made


def copy(mirror: Mirror, folder: Path, *steps: int) -> None:
    for step in steps:
        mirror.saved(checkpoint(folder, step))
    mirror.wait()


def steps(store: LocalStore) -> set[str]:
    return {name.split("/")[2] for name in store.names(f"work/{KEY}")}


def test_a_checkpoint_comes_back_on_another_disk(tmp_path: Path, mirror: Mirror) -> None:
    copy(mirror, tmp_path / "here", 10, 20)
    back = mirror.restore(tmp_path / "there")
    assert back == tmp_path / "there/checkpoint-20"
    assert (back / "weights").read_text() == "weights of 20"
    assert (back / "deep/optimizer.pt").read_text() == "optimizer of 20"
    assert (back / COMPLETE).exists()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["checkpoint-20"]


def test_the_newest_two_are_kept(tmp_path: Path, mirror: Mirror, store: Held) -> None:
    copy(mirror, tmp_path, 8, 9, 10, 100)
    assert steps(store) == {"checkpoint-10", "checkpoint-100"}


def test_what_the_disk_has_is_not_copied_back(tmp_path: Path, mirror: Mirror) -> None:
    copy(mirror, tmp_path, 10)
    assert mirror.restore(tmp_path) is None
    (tmp_path / "checkpoint-10" / COMPLETE).unlink()  # cut off by a kill: the store's is whole
    assert mirror.restore(tmp_path) == tmp_path / "checkpoint-10"


def test_a_copy_that_was_cut_off_is_not_there(tmp_path: Path, mirror: Mirror, store: Held) -> None:
    copy(mirror, tmp_path / "here", 10)
    cut = checkpoint(tmp_path / "here", 20)
    store.put(cut / "weights", f"work/{KEY}/checkpoint-20/weights")  # and no list
    assert mirror.restore(tmp_path / "there") == tmp_path / "there/checkpoint-10"
    copy(mirror, tmp_path / "here", 30)
    assert steps(store) == {"checkpoint-10", "checkpoint-30"}  # what was cut off is swept


@pytest.mark.parametrize("damage", ["flip", "missing", "list", "path"])
def test_a_damaged_copy_is_passed_over(
    tmp_path: Path, mirror: Mirror, store: Held, said: list[str], damage: str
) -> None:
    copy(mirror, tmp_path / "here", 10, 20)
    where = tmp_path / "store/work" / KEY / "checkpoint-20"
    if damage == "flip":
        (where / "weights").unlink()
        (where / "weights").write_text("weights of 2O")
    elif damage == "missing":
        (where / "weights").unlink()
    elif damage == "list":
        (where / LIST).write_text("[")
    else:
        listed = json.loads((where / LIST).read_text())
        listed[0]["path"] = "../../outside"
        (where / LIST).write_text(json.dumps(listed))
    assert mirror.restore(tmp_path / "there") == tmp_path / "there/checkpoint-10"
    assert "checkpoint-20 cannot be resumed from" in said[0]
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["checkpoint-10"]


def test_training_goes_on_while_a_copy_is_made(tmp_path: Path, mirror: Mirror, store: Held) -> None:
    store.go.clear()
    mirror.saved(checkpoint(tmp_path, 10))  # comes back at once
    assert steps(store) == set()
    store.go.set()
    mirror.wait()
    assert steps(store) == {"checkpoint-10"}


def test_a_store_that_is_away_does_not_stop_the_training(
    tmp_path: Path, mirror: Mirror, store: Held, said: list[str]
) -> None:
    copy(mirror, tmp_path, 10)
    store.fails = True
    copy(mirror, tmp_path, 20)
    assert "checkpoint-20 could not be copied to the store (the store is away)" in said[0]
    store.fails = False
    copy(mirror, tmp_path, 30)
    assert steps(store) == {"checkpoint-10", "checkpoint-30"}


class Stopped(SystemExit):
    """Stands for a termination."""


def test_copies_last_until_the_commit(
    tmp_path: Path, store: Held, said: list[str], job: Callable[..., Job]
) -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}

    def first() -> None:
        with mirrored(job(store), tmp_path / "first", pod, said.append) as fields:
            fields["saved"](checkpoint(tmp_path / "first/checkpoints", 10))
            raise Stopped

    with pytest.raises(Stopped):
        first()
    with mirrored(job(store), tmp_path / "second", pod, said.append):
        assert (tmp_path / "second/checkpoints/checkpoint-10" / COMPLETE).exists()
    assert store.names("work") == ()


def test_a_laptops_disk_needs_no_copies(
    tmp_path: Path, store: Held, said: list[str], job: Callable[..., Job]
) -> None:
    with mirrored(job(store), tmp_path, {}, said.append) as fields:
        assert fields == {}
    assert not wanted("/data/store", {})
    assert wanted("s3://bucket/store", {})
    assert wanted("/mnt/store", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
