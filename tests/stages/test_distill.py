import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from distilling import CHARTS, Place, contents, kept, rejected
from PIL import Image

from chainsight.config import DistillSection, Price
from chainsight.context import Context, Task
from chainsight.demo import teacher
from chainsight.errors import ConfigError, RecordError, TeacherError
from chainsight.quality.reasons import REASONS
from chainsight.records import Example
from chainsight.stages import distill
from chainsight.teacher.reply import Reply
from chainsight.teacher.segments import parse_line

KEY = "sk-planted-0123456789abcdef"


# --- the filter ------------------------------------------------------------------------------

OPEN = Example("o", "chartqa", "train", "How many?", ("100",), "relaxed_accuracy", (b"",))
CHOICE = replace(OPEN, metric="multiple_choice", references=("B",), choices=("uk", "us", "fr"))


@pytest.mark.parametrize(
    ("example", "text", "finish", "refusal", "reason"),
    [
        (OPEN, "It is so.\n\n### Answer: 100", "stop", "", ""),
        (OPEN, "It is so.\n\n### Answer: 105", "stop", "", ""),
        (OPEN, "It is so.\n\n### Answer: 106", "stop", "", "mismatch"),
        (OPEN, "It is so.\n\n### Answer: 100\n\n", "", "", ""),
        (OPEN, "It is so.\n\n### Answer:\n100", "stop", "", ""),
        (OPEN, "It is so.\n\n### Answer: 100", "length", "", "truncated"),
        (OPEN, "It is so and", "length", "", "truncated"),
        (OPEN, "It is so. The answer is 100.", "stop", "", "no_marker"),
        (OPEN, "It is 100", "stop", "", "no_marker"),
        (OPEN, "It is so.\n\n### Answer: 100\n\nNow for the reason.", "stop", "", "no_marker"),
        (OPEN, "### Answer: 100", "stop", "", "empty"),
        (OPEN, "It is so.\n\n### Answer:", "stop", "", "empty"),
        (OPEN, " \n", "stop", "", "empty"),
        (OPEN, "I'm sorry, I can't help with that.", "stop", "", "refusal"),
        (OPEN, "I\u2019m sorry, but no.", "stop", "", "refusal"),
        (OPEN, "I cannot see it at first, then so.\n\n### Answer: 100", "stop", "", ""),
        (OPEN, "", "stop", "I must decline.", "refusal"),
        (OPEN, "It is so.\n\n### Answer: 100", "content_filter", "", "filtered"),
        (CHOICE, "It is so.\n\n### Answer: B", "stop", "", ""),
        (CHOICE, "It is so.\n\n### Answer: B. us", "stop", "", ""),
        (CHOICE, "It is so.\n\n### Answer: C", "stop", "", "mismatch"),
        (CHOICE, "It is so.\n\n### Answer: B or C", "stop", "", "mismatch"),
    ],
)
def test_a_reply_is_kept_only_if_it_reasons_ends_and_agrees(
    example: Example, text: str, finish: str, refusal: str, reason: str
) -> None:
    row = distill.judge(example, Reply(text, finish, refusal, 1000, 100), DistillSection())
    assert row.reason == reason
    assert row.text == text
    assert (row.prompt_tokens, row.completion_tokens) == (1000, 100)
    assert row.cost_usd == pytest.approx(0.0065)
    assert row.teacher == "gpt-4o-2024-05-13"


def test_a_question_without_a_reply_has_failed_and_cost_nothing() -> None:
    row = distill.judge(OPEN, None, DistillSection(teacher="scripted"))
    assert (row.reason, row.text, row.cost_usd, row.teacher) == ("failed", "", 0.0, "scripted")


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (replace(OPEN, metric="magic"), "no metric 'magic'"),
        (replace(CHOICE, references=("Z",)), "Z"),
    ],
)
def test_an_example_that_cannot_be_judged_is_named(example: Example, said: str) -> None:
    reply = Reply("So.\n\n### Answer: 1", "stop", "", 1, 1)
    with pytest.raises(RecordError, match=f"^o: .*{said}"):
        distill.judge(example, reply, DistillSection())


# --- the stage -------------------------------------------------------------------------------


def test_every_example_is_kept_or_set_aside_with_its_reason(tmp_path: Path) -> None:
    metrics, output = Place(tmp_path, CHARTS).run()
    good, bad = kept(output), rejected(output)
    assert len(good) + len(bad) == metrics["num_examples"] == 60
    assert metrics["num_kept"] == len(good) == 60 * metrics["keep_rate"]
    assert 0 < metrics["num_mismatch"] + metrics["num_no_marker"] == len(bad) < 30
    for reason in REASONS:
        assert metrics[f"num_{reason}"] == sum(row.reason == reason for row in bad)
    statuses = [row.status for row in (*good, *bad)]
    assert metrics["marker_rate"] == statuses.count("marker") / 60
    assert metrics["no_marker_rate"] == statuses.count("no_marker") / 60 > 0
    order = [example.id for example in CHARTS]
    for rows in (good, bad):
        assert [row.example_id for row in rows] == sorted(
            (row.example_id for row in rows), key=order.index
        )
    assert {row.teacher for row in good + bad} == {"scripted"}
    assert all(row.answer and row.text.endswith(f"### Answer: {row.answer}") for row in good)
    assert metrics["cost_usd"] == pytest.approx(sum(row.cost_usd for row in good + bad))
    assert metrics["prompt_tokens"] == sum(row.prompt_tokens for row in good + bad)


def test_a_second_run_pays_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    first, output = place.run(concurrency=7)
    second, again = place.run(concurrency=2)
    assert (first["num_asked"], first["num_from_ledger"]) == (60, 0)
    assert (second["num_asked"], second["num_from_ledger"]) == (0, 60)
    assert contents(output) == contents(again)


def test_another_price_judges_the_recorded_answers_anew(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS[:10])
    first, _ = place.run()
    second, _ = place.run(price=Price(prompt=10.0, completion=30.0))
    assert second["num_asked"] == 0
    assert second["cost_usd"] == pytest.approx(2 * first["cost_usd"])


def test_a_changed_example_is_the_only_one_asked_again(tmp_path: Path) -> None:
    Place(tmp_path, CHARTS).run()
    changed = [replace(CHARTS[0], references=("77",)), *CHARTS[1:]]
    metrics, _ = Place(tmp_path, changed).run()
    assert (metrics["num_asked"], metrics["num_from_ledger"]) == (1, 59)


def test_images_without_a_table_get_a_rationale_for_their_answer(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1500, 900)).save(file, "PNG")
    photos = [
        replace(
            example,
            id=f"{metric}/{i}",
            question=f"{example.question} {i}",
            images=(file.getvalue(),),
        )
        for metric, example in (("open", OPEN), ("choice", CHOICE))
        for i in range(10)
    ]
    metrics, output = Place(tmp_path, photos).run(scripted_error_rate=0.0)
    assert metrics["num_kept"] == 20
    assert {row.answer for row in kept(output)} == {"100", "B"}
    assert metrics["prompt_tokens"] > 20 * 765


def test_two_rows_that_ask_the_same_are_paid_once(tmp_path: Path) -> None:
    twice = [*CHARTS[:10], replace(CHARTS[3], id="bars/train/again")]
    metrics, output = Place(tmp_path, twice).run(scripted_error_rate=0.0)
    assert (metrics["num_asked"], metrics["num_kept"]) == (10, 11)
    costs = {row.example_id: row.cost_usd for row in kept(output)}
    assert costs[CHARTS[3].id] > 0.0 == costs["bars/train/again"]


def test_progress_counts_what_is_in_the_ledger_as_done(tmp_path: Path) -> None:
    opened: list[tuple[int, int, int]] = []
    said: list[str] = []

    class Watch:
        @contextmanager
        def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
            counter = Counter[str]()

            class Counting:
                def advance(self, count: int = 1) -> None:
                    counter["n"] += count

            yield Counting()
            opened.append((total, done, counter["n"]))

        def say(self, line: str) -> None:
            said.append(line)

    for number in (20, 60):
        place = Place(tmp_path, CHARTS[:number])
        output = tmp_path / f"watched{number}"
        output.mkdir()
        context = Context(work=tmp_path, ledger=tmp_path / "ledger", progress=Watch())
        examples = place.root / "examples"
        config = DistillSection(teacher="scripted")
        distill.run(config, examples=examples, rationales=output, context=context)
    assert opened == [(20, 0, 20), (20, 0, 20), (60, 0, 60), (60, 20, 40)]
    assert said[0].startswith("distill: 20 questions to ask, about $0.0")
    assert "distill: 40 questions to ask" in said[1]
    assert "; 20 are answered, for $0.0" in said[1]


def test_an_image_that_cannot_be_sent_is_a_failed_row(tmp_path: Path) -> None:
    broken = [*CHARTS[:19], replace(CHARTS[19], images=(b"<html>",))]
    metrics, output = Place(tmp_path, broken).run(max_failed_rate=0.05)
    assert metrics["num_failed"] == 1
    assert [r.example_id for r in rejected(output) if r.reason == "failed"] == [CHARTS[19].id]
    with pytest.raises(TeacherError, match=r"1 of 20 questions got no answer, .* 0\.04 allows"):
        Place(tmp_path, broken).run(max_failed_rate=0.04)


def test_not_one_kept_rationale_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"not one rationale was kept \(.*\d+ mismatch"):
        Place(tmp_path, CHARTS).run(scripted_error_rate=1.0)
    with pytest.raises(TeacherError, match=r"not one rationale was kept \(no examples\)"):
        Place(tmp_path / "none", []).run()


def test_the_budget_of_a_resumed_run_counts_what_was_spent(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    with pytest.raises(TeacherError, match=r"\$0\.0500 allowed"):
        place.run(budget_usd=0.05, concurrency=2)
    with pytest.raises(TeacherError, match=r"on 1\d of 60 questions.* about \$0\.1"):
        place.run(budget_usd=0.05, concurrency=2)
    metrics, _ = place.run(budget_usd=0.5)
    assert 10 < metrics["num_from_ledger"] < 20
    assert metrics["num_from_ledger"] + metrics["num_asked"] == 60


def test_openai_without_a_key_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        Place(tmp_path, CHARTS).run(teacher="openai")


def test_the_key_is_in_no_file_and_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANTED", KEY)
    place = Place(tmp_path, CHARTS[:10])
    settings = {"api_key_env": "PLANTED", "concurrency": 2}
    with teacher.serve(required_key=KEY, fail_rate=0.3) as handle:
        place.run(teacher=handle.url, **settings)
    with (
        teacher.serve(required_key="sk-other") as handle,
        pytest.raises(TeacherError, match="PLANTED") as caught,
    ):
        place.run(teacher=handle.url, **settings)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not any(KEY.encode() in data for data in files)
    assert KEY not in caplog.text + str(caught.value)


# --- published rationales, requests to learn --------------------------------------------------

REASON = "It is so.\n\n### Answer: "
INSTRUCT = replace(CHARTS[0], id="i", kind="instruct", references=("A chart.",))


def test_published_rationales_pass_the_same_filter_and_cost_nothing(tmp_path: Path) -> None:
    bring = [
        replace(OPEN, id=f"{n}", images=CHARTS[n].images, meta={"rationale": f"{REASON}{answer}"})
        for n, answer in enumerate(("100", "105", "106"))
    ]
    silent = replace(bring[0], id="silent", meta={})
    unended = replace(bring[0], id="unended", meta={"rationale": "It is 100."})
    place = Place(tmp_path, [*bring, silent, unended])
    metrics, output = place.run(teacher="published", max_failed_rate=0.0)
    assert [row.example_id for row in kept(output)] == ["0", "1"]
    assert [row.text for row in kept(output)] == [row.meta["rationale"] for row in bring[:2]]
    assert {row.example_id: row.reason for row in rejected(output)} == {
        "2": "mismatch", "silent": "unpublished", "unended": "no_marker",
    }  # fmt: skip
    assert {row.teacher for row in kept(output) + rejected(output)} == {"published"}
    assert metrics["num_unpublished"] == 1
    assert metrics["cost_usd"] == metrics["num_asked"] == metrics["prompt_tokens"] == 0.0
    assert not (tmp_path / "ledger").exists()


def test_without_any_published_rationale_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"\(5 unpublished\); take a dataset that brings"):
        Place(tmp_path, CHARTS[:5]).run(teacher="published")


def test_requests_to_be_learned_word_for_word_are_not_asked(tmp_path: Path) -> None:
    place = Place(tmp_path, [INSTRUCT, *CHARTS[:5], replace(INSTRUCT, id="j")])
    metrics, output = place.run(scripted_error_rate=0.0)
    assert metrics["num_asked"] == metrics["num_examples"] == 5
    assert [row.example_id for row in kept(output)] == [example.id for example in CHARTS[:5]]
    assert rejected(output) == []
    taught = replace(OPEN, images=CHARTS[0].images, meta={"rationale": f"{REASON}100"})
    request = replace(INSTRUCT, meta={"rationale": f"{REASON}A chart."})
    metrics, _ = Place(tmp_path / "p", [taught, request]).run(teacher="published")
    assert metrics["num_examples"] == metrics["num_kept"] == 1


# --- kill -9 ---------------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
from chainsight.config import DistillSection
from chainsight.context import Context
from chainsight.stages import distill
root, url, output = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
output.mkdir(exist_ok=True)
distill.run(
    DistillSection(teacher=url, concurrency=4), examples=root / "examples", rationales=output,
    context=Context(work=root / "work", ledger=root / "ledger"),
)
"""


def recorded(root: Path) -> list[str]:
    """The digests of the request bodies whose answers are in the ledger."""
    lines = [line for path in (root / "ledger").glob("*/*") for line in path.open("rb")]
    entries = [entry for line in lines if (entry := parse_line(line))]
    return [entry["response"]["id"].removeprefix("chatcmpl-") for entry in entries]


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_kills_lose_no_record_and_pay_none_twice(tmp_path: Path) -> None:
    num_kills, concurrency, bills = 5, 4, tmp_path / "bills"
    bills.write_text("")

    def billed() -> list[str]:
        return bills.read_text().split()

    Place(tmp_path, CHARTS)
    places: list[tuple[int, list[str]]] = []
    with teacher.serve(bills=bills, latency_seconds=0.03, error_rate=0.2) as handle:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), handle.url, str(tmp_path / "out")]
        for kill in range(num_kills):
            process = subprocess.Popen(command)
            goal = len(billed()) + 7 + kill  # 4 in flight: some recorded, some not
            until(lambda goal=goal: len(billed()) >= goal)  # type: ignore[misc]
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            places.append((len(billed()), recorded(tmp_path)))
        subprocess.run(command, check=True, timeout=60)
        disturbed, num_billed = contents(tmp_path / "out"), billed()
        undisturbed = Place(tmp_path / "calm", CHARTS).run(teacher=handle.url)[1]
    assert all(known for _, known in places)
    for moment, known in places:
        assert not set(num_billed[moment:]) & set(known)
    assert Counter(recorded(tmp_path)) == Counter(set(num_billed))
    assert len(set(num_billed)) == 60
    assert len(num_billed) - 60 <= num_kills * concurrency
    assert disturbed == contents(undisturbed)
