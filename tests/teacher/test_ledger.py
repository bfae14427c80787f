import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chainsight.errors import StoreError, TeacherError
from chainsight.store import LocalStore
from chainsight.teacher import ledger as module
from chainsight.teacher import segments
from chainsight.teacher.ledger import Entry, Ledger, open_ledger
from chainsight.teacher.segments import alone, format_line, key_of, parse_line


def response(text: str) -> Entry:
    return Entry({"choices": [{"message": {"content": text}}]}, by="http://there/v1")


def fill(folder: Path, *keys: str) -> Path:
    """Record an answer to each key, in a segment of their own."""
    before = set(folder.glob("*"))
    with open_ledger(folder) as ledger:
        for key in keys:
            ledger.record(key, response(f"text of {key}\nzwölf \U0001f600 \ud800"))
    (segment,) = set(folder.glob("*")) - before
    return segment


def lines(folder: Path) -> list[bytes]:
    return [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- in one home -----------------------------------------------------------------------------


def test_what_was_recorded_is_found_again_word_for_word(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "ledger"
    fill(folder, "a", "b")
    with open_ledger(folder) as ledger:
        assert len(ledger) == 2
        assert "a" in ledger
        assert "c" not in ledger
        assert ledger.get("c") is None
        assert ledger.get("b") == response("text of b\nzwölf \U0001f600 \ud800")
        assert list(ledger) == ["a", "b"]


def test_a_run_that_records_nothing_leaves_no_file(tmp_path: Path) -> None:
    with open_ledger(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_first_answer_to_a_request_stays(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.record("a", response("first"))
        ledger.record("a", response("second"))
        assert ledger.get("a") == response("first")
    assert len(lines(tmp_path)) == 1


def test_a_last_record_torn_at_any_byte_is_healed_and_the_ledger_goes_on(tmp_path: Path) -> None:
    path = fill(tmp_path, "a", "b", "c")
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start, len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = cut >= len(whole) - 1  # a record that lacks just its line end is complete
        with open_ledger(tmp_path) as ledger:
            assert ("c" in ledger) == complete
            assert (len(ledger), ledger.num_damaged) == (2 + complete, 0)
            assert ledger.get("b") == response("text of b\nzwölf \U0001f600 \ud800")
        assert path.read_bytes() == (whole if complete else whole[:start])


def test_the_end_of_a_segment_is_left_alone_while_its_writer_lives(tmp_path: Path) -> None:
    path = fill(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes()[:-5])  # its writer is in the middle of a line
    torn = path.read_bytes()
    with alone(path), open_ledger(tmp_path) as ledger:
        assert list(ledger) == ["a"]
        assert path.read_bytes() == torn
    with open_ledger(tmp_path) as ledger:
        assert path.read_bytes() == torn[: torn.index(b"\n") + 1]


@pytest.mark.parametrize("offset", [0, 8, 9, 30, -2])
def test_a_damaged_middle_line_is_skipped_and_counted(tmp_path: Path, offset: int) -> None:
    path = fill(tmp_path, "a", "b", "c")
    found = path.read_bytes().splitlines(keepends=True)
    middle = bytearray(found[1])
    middle[offset] ^= 0x01
    path.write_bytes(found[0] + bytes(middle) + found[2])
    with open_ledger(tmp_path) as ledger:
        assert ledger.num_damaged == 1
        assert [key for key in "abc" if key in ledger] == ["a", "c"]
        ledger.record("b", response("asked again"))
    with open_ledger(tmp_path) as ledger:
        assert ledger.get("b") == response("asked again")


def test_two_runs_write_at_once_and_share_their_answers(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as one, open_ledger(tmp_path) as other:
        one.record("a", response("by one"))
        other.record("b", response("by other"))
        assert "a" not in other
        other.refresh()
        one.refresh()
        assert other.get("a") == response("by one")
        assert one.get("b") == response("by other")
        one.record("b", response("again"))
    assert len(lines(tmp_path)) == 2


def test_segments_are_sealed_when_they_are_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_ROWS", 3)
    with open_ledger(tmp_path) as ledger:
        for number in range(8):
            ledger.record(f"{number}", response("x"))
        assert [ledger.get(f"{number}") for number in range(8)] == [response("x")] * 8
    sizes = sorted(path.read_bytes().count(b"\n") for path in tmp_path.glob("*"))
    assert sizes == [2, 3, 3]
    monkeypatch.setattr(segments, "MOST_BYTES", 1)
    with open_ledger(tmp_path) as ledger:
        ledger.record("8", response("x"))
        ledger.record("9", response("x"))
    assert len(list(tmp_path.glob("*"))) == 5


def test_many_threads_wait_for_one_write_to_the_disk_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def slow(descriptor: int) -> None:
        time.sleep(0.02)
        os.fsync(descriptor)
        synced.append(descriptor)

    monkeypatch.setattr(segments, "_sync", slow)
    with open_ledger(tmp_path) as ledger:
        threads = [
            threading.Thread(target=ledger.record, args=(f"{n}", response("x"))) for n in range(64)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 <= len(synced) < 32
        assert len(ledger) == len(lines(tmp_path)) == 64


def test_many_threads_write_while_another_looks_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_sync", lambda descriptor: None)
    monkeypatch.setattr(segments, "MOST_ROWS", 50)
    with open_ledger(tmp_path) as ledger:

        def write(thread: int) -> None:
            for number in range(100):
                ledger.record(f"{thread}/{number}", response(f"{thread}/{number}"))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            ledger.refresh()
        assert all(ledger.get(key) == response(key) for key in ledger)
    with open_ledger(tmp_path) as ledger:
        assert (len(ledger), len(lines(tmp_path)), ledger.num_damaged) == (400, 400, 0)
        assert all(ledger.get(key) == response(key) for key in ledger)


def test_an_answer_that_the_disk_lost_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OSError(5, "Input/output error")])

    def failing(descriptor: int) -> None:
        for failure in failures:
            raise failure

    monkeypatch.setattr(segments, "_sync", failing)
    with open_ledger(tmp_path) as ledger:
        for _ in range(2):  # the kernel tells it once
            with pytest.raises(TeacherError, match=r"cannot be recorded \(Input/output error"):
                ledger.record("a", response("x"))


def test_the_file_of_an_earlier_version_becomes_a_segment(tmp_path: Path) -> None:
    old = tmp_path / "openai-0123456789ab.jsonl"
    old.write_bytes(format_line(response("paid").to_json("a")))
    (tmp_path / "openai-ba9876543210.jsonl").write_bytes(b"")
    with open_ledger(tmp_path / "0123456789ab") as ledger:
        assert ledger.get("a") == response("paid")
    assert not old.exists()
    assert (tmp_path / "openai-ba9876543210.jsonl").exists()
    with open_ledger(tmp_path / "0123456789ab") as ledger:
        assert "a" in ledger


@pytest.mark.parametrize("key", ["", "9a", 'a"b', "zwölf", "\\"])
def test_a_key_is_read_without_its_answer(key: str) -> None:
    line = format_line(response('"key":"no"').to_json(key))
    assert key_of(line) == key
    assert key_of(line[:-1]) == key
    assert key_of(line[:-2]) is None
    assert parse_line(line) == response('"key":"no"').to_json(key)


FULL_DISK = """
import resource, sys
from pathlib import Path
from chainsight.errors import TeacherError
from chainsight.teacher.ledger import Entry, open_ledger
with open_ledger(Path(sys.argv[1])) as ledger:
    ledger.record("a", Entry({"n": "x" * 100}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    try:
        ledger.record("b", Entry({"n": "x" * 1000}))
    except TeacherError as error:
        print(error)
"""


def test_a_full_disk_ends_clearly_and_leaves_the_ledger_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be recorded" in done.stdout
    assert "the 1 recorded answers are not paid again" in done.stdout
    (path,) = tmp_path.glob("*")
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"\n")
    with open_ledger(tmp_path) as ledger:
        assert (len(ledger), ledger.num_damaged) == (1, 0)


def test_a_home_that_is_deleted_under_a_run_ends_it(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger") as ledger:
        ledger.record("a", response("x"))
        shutil.rmtree(tmp_path / "ledger")
        with pytest.raises(TeacherError, match="cannot be recorded"):
            ledger.record("b", response("x"))
        with pytest.raises(TeacherError, match="changed under a running stage"):
            ledger.get("a")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "ledger"
    with pytest.raises(TeacherError, match="cannot be opened"), open_ledger(path):
        pass


# --- on the shelf ----------------------------------------------------------------------------


class Shelf(LocalStore):
    """A store that counts, and that can be out of order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.is_away = False
        self.fetched: list[str] = []
        self.num_put = 0
        self.before_get: Callable[[], None] = lambda: None

    def put(self, path: Path, name: str) -> None:
        if self.is_away:
            raise StoreError("the store is away")
        self.num_put += 1
        super().put(path, name)

    def get(self, name: str, path: Path) -> None:
        self.fetched.append(name)
        self.before_get()
        super().get(name, path)

    def num_rows(self) -> int:
        """Rows on the shelf, each of them whole."""
        found = [line for path in (self.root / "ledger").glob("*/*") for line in path.open("rb")]
        assert all(parse_line(line) for line in found)
        return len(found)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "store")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shelf is looked after every 50 ms."""
    monkeypatch.setattr(module, "SHELVED_SECONDS", 0.05)


def record(ledger: Ledger, *keys: str) -> None:
    for key in keys:
        ledger.record(key, response(f"text of {key}"))


def test_another_home_finds_what_is_on_the_shelf(tmp_path: Path, shelf: Shelf) -> None:
    with open_ledger(tmp_path / "here/t", shelf) as ledger:
        record(ledger, "a", "b")
        assert ledger.where == f"{tmp_path}/here/t and the store's ledger/t"
    with open_ledger(tmp_path / "there/t", shelf) as ledger:
        assert ledger.get("b") == response("text of b")
    with open_ledger(tmp_path / "there/t", shelf) as ledger:
        assert len(ledger) == 2
        assert len(shelf.fetched) == 1  # the second time it was there
    with open_ledger(tmp_path / "there/other", shelf) as ledger:
        assert len(ledger) == 0


def test_a_copy_grows_as_its_original_does(tmp_path: Path, shelf: Shelf) -> None:
    with (
        open_ledger(tmp_path / "here/t", shelf) as here,
        open_ledger(tmp_path / "there/t", shelf) as there,
    ):
        for key in "abc":
            record(here, key)
            here.flush()
            there.refresh()
            assert list(there) == list(here)
            assert there.get(key) == here.get(key)
    (original,), (copy,) = (tmp_path / "here/t").glob("*"), (tmp_path / "there/t").glob("*/*")
    assert original.read_bytes() == copy.read_bytes()
    copy.write_bytes(copy.read_bytes()[:-7])  # killed while it was fetched
    with open_ledger(tmp_path / "there/t", shelf) as there:
        assert len(there) == 3
    assert original.read_bytes() == copy.read_bytes()
    assert shelf.num_put == 3


def test_a_copy_is_never_put_in_place_of_a_newer_original(tmp_path: Path, shelf: Shelf) -> None:
    with (
        open_ledger(tmp_path / "here/t", shelf) as here,
        open_ledger(tmp_path / "there/t", shelf) as there,
    ):
        record(here, "a")
        here.flush()

        def grow() -> None:  # between a look at the shelf and the fetching
            record(here, "b")
            here.flush()

        shelf.before_get = grow
        there.refresh()
        record(here, "c")
        here.flush()
        there.flush()
        assert list(there) == ["a", "b"]
        assert shelf.num_rows() == shelf.num_put == 3


def test_fifty_answers_are_on_the_shelf_while_the_next_are_asked(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHELVED_SECONDS", 1000.0)
    with open_ledger(tmp_path / "t", shelf) as ledger:
        record(ledger, *(f"{n}" for n in range(49)))
        assert shelf.num_put == 0
        record(ledger, "49")
        until(lambda: shelf.num_rows() == 50)
        record(ledger, "50")
    assert shelf.num_rows() == 51


def test_a_few_answers_are_on_the_shelf_after_a_while(
    tmp_path: Path, shelf: Shelf, soon: None
) -> None:
    with open_ledger(tmp_path / "t", shelf) as ledger:
        record(ledger, "a")
        until(lambda: shelf.num_rows() == 1)


def test_what_others_record_meanwhile_is_seen(tmp_path: Path, shelf: Shelf, soon: None) -> None:
    with (
        open_ledger(tmp_path / "here/t", shelf) as here,
        open_ledger(tmp_path / "there/t", shelf) as there,
    ):
        record(here, "a")
        until(lambda: "a" in there)


def test_sealed_segments_stay_as_they_were_on_the_shelf(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_ROWS", 3)
    with open_ledger(tmp_path / "t", shelf) as ledger:
        for number in range(8):
            record(ledger, f"{number}")
            ledger.flush()
        assert shelf.num_put == shelf.num_rows() == 8
        assert ledger.flush()
        assert shelf.num_put == 8
    assert len(list((tmp_path / "t").glob("*"))) == 3  # and nothing else


def test_a_store_that_is_away_is_a_warning_and_is_tried_again(
    tmp_path: Path, shelf: Shelf, soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.is_away = True
    with open_ledger(tmp_path / "t", shelf) as ledger:
        record(ledger, *(f"{n}" for n in range(60)))
        until(lambda: bool(caplog.messages))
        assert not ledger.flush()
        assert shelf.num_put == 0
        shelf.is_away = False
        until(lambda: shelf.num_rows() == 60)
        assert ledger.flush()
    (said,) = caplog.messages
    assert "only there; the store is tried again: the store is away" in said


def test_a_store_that_cannot_be_read_is_an_error_before_anything_is_paid(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(prefix: str) -> dict[str, int]:
        raise StoreError("the store is away")

    monkeypatch.setattr(shelf, "sizes", away)
    with pytest.raises(StoreError, match="away"), open_ledger(tmp_path / "t", shelf):
        pass


def test_what_a_killed_run_did_not_put_is_put_by_the_next_in_its_home(
    tmp_path: Path, shelf: Shelf
) -> None:
    path = fill(tmp_path / "t", "a", "b", "c")  # no shelf
    with alone(path), open_ledger(tmp_path / "t", shelf) as ledger:
        assert ledger.flush()
        assert shelf.num_put == 0  # its writer lives, and does it
    path.write_bytes(path.read_bytes()[:-3])
    with open_ledger(tmp_path / "t", shelf) as ledger:
        assert list(ledger) == ["a", "b"]
    assert shelf.num_rows() == 2


def test_an_error_and_a_ctrl_c_leave_all_on_the_shelf(tmp_path: Path, shelf: Shelf) -> None:
    def fail(error: type[BaseException]) -> None:
        with open_ledger(tmp_path / "t", shelf) as ledger:
            record(ledger, error.__name__)
            raise error

    for error in (TeacherError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
    assert shelf.num_rows() == 2


STOPPED = """
import sys, time
from pathlib import Path
from chainsight.store import LocalStore
from chainsight.teacher.ledger import Entry, open_ledger
with open_ledger(Path(sys.argv[1]), LocalStore(Path(sys.argv[2]))) as ledger:
    for number in range(3):
        ledger.record(f"{number}", Entry({}))
    print("recorded", flush=True)
    time.sleep(60)
"""


def test_a_pod_that_is_told_to_go_leaves_all_on_the_shelf(tmp_path: Path, shelf: Shelf) -> None:
    command = [sys.executable, "-c", STOPPED, str(tmp_path / "t"), str(shelf.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "recorded\n"
        assert shelf.num_rows() == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert shelf.num_rows() == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
