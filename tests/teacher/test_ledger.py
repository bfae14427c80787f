import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chainsight.errors import TeacherError
from chainsight.teacher.ledger import Entry, format_line, open_ledger


def response(text: str) -> Entry:
    return Entry({"choices": [{"message": {"content": text}}]}, by="http://there/v1")


def fill(path: Path, *keys: str) -> None:
    with open_ledger(path) as ledger:
        for key in keys:
            ledger.record(key, response(f"text of {key}\nzwölf \U0001f600 \ud800"))


def test_what_was_recorded_is_found_again_word_for_word(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    fill(path, "a", "b")
    with open_ledger(path) as ledger:
        assert len(ledger) == 2
        assert "a" in ledger
        assert "c" not in ledger
        assert ledger.get("c") is None
        assert ledger.get("b") == response("text of b\nzwölf \U0001f600 \ud800")


def test_the_first_answer_to_a_request_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with open_ledger(path) as ledger:
        ledger.record("a", response("first"))
        ledger.record("a", response("second"))
        assert ledger.get("a") == response("first")
    assert len(path.read_bytes().splitlines()) == 1
    path.write_bytes(path.read_bytes() + format_line(response("third").to_json("a")))
    with open_ledger(path) as ledger:
        assert ledger.get("a") == response("first")


def test_a_last_record_torn_at_any_byte_is_healed_and_the_ledger_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    fill(path, "a", "b", "c")
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start, len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = cut >= len(whole) - 1  # a record that lacks just its line end is complete
        with open_ledger(path) as ledger:
            assert ("c" in ledger) == complete
            assert len(ledger) == 2 + complete
            assert ledger.num_damaged == 0
            ledger.record("d", response("after"))
            assert ledger.get("d") == response("after")
        with open_ledger(path) as ledger:
            assert len(ledger) == 3 + complete
            assert ledger.get("b") == response("text of b\nzwölf \U0001f600 \ud800")


@pytest.mark.parametrize("offset", [0, 8, 9, 30, -2])
def test_a_damaged_middle_line_is_skipped_and_counted(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "ledger.jsonl"
    fill(path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    middle = bytearray(lines[1])
    middle[offset] ^= 0x01
    path.write_bytes(lines[0] + bytes(middle) + lines[2])
    with open_ledger(path) as ledger:
        assert ledger.num_damaged == 1
        assert [key for key in "abc" if key in ledger] == ["a", "c"]
        ledger.record("b", response("asked again"))
    with open_ledger(path) as ledger:
        assert ledger.get("b") == response("asked again")


def test_a_second_run_waits_and_finds_the_answers_of_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.jsonl"
    found: list[bool] = []

    def second() -> None:
        with open_ledger(path) as ledger:
            found.append("late" in ledger)

    with open_ledger(path) as ledger:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        ledger.record("late", response("yes"))
    thread.join(5)
    assert found == [True]
    assert "in use by another run" in caplog.text


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
    path = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be recorded" in done.stdout
    assert "the 1 recorded answers are not paid again" in done.stdout
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"\n")
    with open_ledger(path) as ledger:
        assert (len(ledger), ledger.num_damaged) == (1, 0)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "ledger.jsonl"
    with pytest.raises(TeacherError, match="cannot be opened"), open_ledger(path):
        pass
