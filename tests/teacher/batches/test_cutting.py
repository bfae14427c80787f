import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chainsight.records import Example
from chainsight.teacher.batches.cutting import Cut, Cutter, Limits, Request, line
from chainsight.teacher.request import Question, Variant
from chainsight.teacher.sizing import Size

MANY = Limits(1000, 10**9)


def requests(num: int, num_bytes: int = 100, prompt_tokens: int = 10) -> Iterator[Request]:
    example = Example("a/b/0", "a", "b", "q", ("1",), "exact_match")
    for number in range(num):
        question = Question(f"{number:064x}", example, Variant(0, 0.0))
        yield Request(question, Size(prompt_tokens - 1, 1, 5), b"x" * (num_bytes - 1) + b"\n")


def cuts(folder: Path, stream: Iterator[Request], limits: Limits, **ask: Any) -> list[Cut]:
    cutter = Cutter(
        stream,
        folder,
        is_open=ask.get("is_open", lambda question: True),
        afford=ask.get("afford", lambda request: True),
    )
    found = []
    while not cutter.is_done and (cut := cutter.cut(limits)):
        found.append(cut)
    return found


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(4, 10**9), [4, 4, 2]),
        (Limits(1000, 300), [3, 3, 3, 1]),
        (Limits(1000, 299), [2, 2, 2, 2, 2]),
        (Limits(1000, 10**9, 70), [7, 3]),
        (Limits(1000, 10**9, 69), [6, 4]),
        (MANY, [10]),
    ],
)
def test_a_file_ends_at_the_first_limit(
    tmp_path: Path, limits: Limits, expected: list[int]
) -> None:
    found = cuts(tmp_path, requests(10), limits)
    assert [len(cut.keys) for cut in found] == expected
    assert [cut.num_bytes for cut in found] == [100 * num for num in expected]
    assert [cut.prompt_tokens for cut in found] == [10 * num for num in expected]


def test_the_files_hold_all_lines_in_order_and_know_their_digest(tmp_path: Path) -> None:
    found = cuts(tmp_path, requests(10), Limits(4, 10**9))
    contents = [cut.file.read() for cut in found]
    assert b"".join(contents) == b"".join(request.line for request in requests(10))
    assert [hashlib.sha256(content).hexdigest() for content in contents] == [
        cut.sha256 for cut in found
    ]


def test_a_file_that_is_cut_has_no_name(tmp_path: Path) -> None:
    cuts(tmp_path, requests(10), MANY)
    assert list(tmp_path.iterdir()) == []


def test_no_more_than_one_request_is_read_ahead(tmp_path: Path) -> None:
    num_read = 0

    def counted() -> Iterator[Request]:
        nonlocal num_read
        for request in requests(1000):
            num_read += 1
            yield request

    cutter = Cutter(counted(), tmp_path, is_open=lambda _: True, afford=lambda _: True)
    cutter.cut(Limits(10, 10**9))
    assert num_read == 11


def test_a_request_that_is_on_its_way_by_now_is_left_out(tmp_path: Path) -> None:
    taken: set[str] = set()
    cutter = Cutter(
        requests(6), tmp_path, is_open=lambda q: q.key not in taken, afford=lambda _: True
    )
    first = cutter.cut(Limits(2, 10**9))
    taken |= {f"{number:064x}" for number in (2, 4)}  # 2 was read ahead
    second = cutter.cut(MANY)
    assert first
    assert second
    assert [int(key, 16) for key in first.keys + second.keys] == [0, 1, 3, 5]


def test_a_file_ends_where_the_money_does_and_goes_on_when_there_is_more(tmp_path: Path) -> None:
    money = [3]

    def afford(request: Request) -> bool:
        money[0] -= 1
        return money[0] >= 0

    cutter = Cutter(requests(5), tmp_path, is_open=lambda _: True, afford=afford)
    first = cutter.cut(MANY)
    assert first
    assert len(first.keys) == 3
    assert cutter.unaffordable
    assert int(cutter.unaffordable.question.key, 16) == 3
    assert cutter.cut(MANY) is None
    assert not cutter.is_done
    money[0] = 9
    last = cutter.cut(MANY)
    assert last
    assert len(last.keys) == 2
    assert cutter.is_done


def test_a_line_says_whom_it_asks_what() -> None:
    found = line("abc", "/v1/chat/completions", {"model": "m", "text": "caf\u00e9\u2028\n"})
    assert found.endswith(b"\n")
    assert found.count(b"\n") == 1
    assert json.loads(found) == {
        "custom_id": "abc",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "text": "caf\u00e9\u2028\n"},
    }
