"""examples -> rationales: the teacher explains each annotated answer; who disagrees is set aside.

The filter of the paper (arXiv 2410.16198): a rationale is kept only if the final answer in it
equals the annotation by the dataset's own metric; mismatches are dropped, not asked again, as
most are errors of the annotation. Every answer is in the ledger before it is judged, so that a
killed run resumes, and another filter costs nothing. Requests to be learned word for word (kind
`instruct`) are not asked.

Off unless set, as the paper has none of it: `retries` ask again about what is set aside,
`samples` ask for several rationales at once, `filter` wants more of a rationale than the right
answer. What they would do is measured all the same (`chainsight.quality`).

Teacher `published`: the rationale that an example brings along (`meta["rationale"]`) is taken for
the reply and judged alike; nobody is asked and nothing is paid.

Costs are tokens times `distill.price`; for the scripted teacher, what they would have been.

Files: `rationales.parquet` (kept), `rejected.parquet` (with `reason`), both in example order, and
`quality.json` (`chainsight.quality.tally`), last: where it is, the others are complete. A stage
that stops leaves all three for the report, of the answers that came.
"""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from chainsight import answers, records, stored
from chainsight.config import DistillSection
from chainsight.context import Context
from chainsight.demo import rationales as script
from chainsight.demo import teacher as scripted
from chainsight.errors import ConfigError, StoreError, TeacherError
from chainsight.metrics import judging
from chainsight.quality import tally
from chainsight.quality.measures import measure, objection
from chainsight.quality.reasons import ASKED_AGAIN, PAPER
from chainsight.quality.tally import Tally
from chainsight.records import Example, Rationale
from chainsight.scoring import status_rates
from chainsight.teacher.cost import price_of
from chainsight.teacher.endpoint import NO_KEY, Endpoint, identity, resolve
from chainsight.teacher.estimate import Estimate, estimate
from chainsight.teacher.ledger import Entry, Ledger, open_ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.rounds import Rounds

PUBLISHED = "published"
PUBLISHED_HINT = "take a dataset that brings rationales (sharegpt4o_sft), or choose another teacher"
NOBODY_ASKED = {"num_asked": 0.0, "num_from_ledger": 0.0}
TOLD = {"teacher", "teacher_model", "mode", "samples", "retries", "retry_temperature", "filter"}
"""Settings that `quality.json` repeats."""
REFUSALS = ("i'm sorry", "i am sorry", "sorry,", "i can't", "i cannot", "i'm unable")
"""How a refusal starts that the endpoint does not mark as one."""

Tries = Iterator[tuple[Example, list[Rationale]]]
"""Each example with the judged answers to its questions, in the order in which they were asked."""


def run(
    config: DistillSection, *, examples: Path, rationales: Path, context: Context
) -> dict[str, float]:
    """Ask for what the ledger lacks, judge all answers, write all files.

    Raises:
        TeacherError: no teacher, no money, too many failures, or not one rationale kept.
    """
    rows = examples / "examples.parquet"
    if config.teacher == PUBLISHED:
        judged = ((example, [judge_published(example, config)]) for example in _questions(rows))
        return _write(config, judged, rationales, PUBLISHED_HINT) | NOBODY_ASKED
    with _endpoints(config) as endpoints, _rounds(config, rows, context) as (rounds, ledger):
        try:
            rounds.ask(endpoints, partial(_is_asked_again, config))
        except TeacherError as error:
            _write(config, _judge_all(config, rounds), rationales, stopped=str(error))
            raise
        hint = f"look at the answers in {ledger.where}, or choose another teacher"
        return _write(config, _judge_all(config, rounds), rationales, hint) | rounds.counts()


def run_shard(config: DistillSection, *, examples: Path, context: Context) -> None:
    """Ask this shard's questions; the answers are in the ledger, where the stage finds them.

    Equal questions fall into one shard, and each shard has its share of the budget.

    Raises:
        TeacherError: no teacher, no money.
        StoreError: the store does not take the answers.
    """
    if config.teacher == PUBLISHED:
        return
    shard = context.shard
    share = config.budget_usd and config.budget_usd / shard.count
    config = config.model_copy(update={"budget_usd": share})
    rows = examples / "examples.parquet"
    with _endpoints(config) as endpoints, _rounds(config, rows, context) as (rounds, ledger):
        rounds.ask(endpoints, partial(_is_asked_again, config))
        if not ledger.flush():
            raise StoreError(
                f"distill: the answers of shard {shard.number}/{shard.count} are in "
                f"{ledger.where} not yet; run it again when the store answers: none is paid again"
            )


def preview(
    config: DistillSection, *, examples: Path, context: Context, probe: int = 0
) -> Estimate:
    """What the questions that have no answer yet will cost; `probe` of them are asked first.

    Without a probe nobody is asked, and no key is needed.

    Raises:
        ConfigError: a teacher that nobody asks.
        TeacherError: as `run`, of a probe.
    """
    if config.teacher == PUBLISHED:
        raise ConfigError("distill.teacher is published: nobody is asked, and nothing is paid")
    now = config.model_copy(update={"mode": "sync"})
    with _rounds(now, examples / "examples.parquet", context) as (rounds, _):
        survey = rounds.look(sample=probe)
        if not probe or not survey.num_open:
            return estimate(config, survey)
        start = time.monotonic()
        with _endpoints(now) as endpoints:
            asked = rounds.probe(endpoints, survey)
        waves = math.ceil(asked / config.concurrency)
        return estimate(config, survey, seconds=(time.monotonic() - start) / waves)


def _questions(rows: Path) -> Iterator[Example]:
    """The examples that are questions, in order; an image is read when it is looked at."""
    return (e for e in stored.examples(rows) if e.kind != "instruct")


@contextmanager
def _rounds(
    config: DistillSection, rows: Path, context: Context
) -> Iterator[tuple[Rounds, Ledger]]:
    """The questions about all examples, and the ledger that has their answers."""
    who = _identity(config)
    folder = context.ledger / sha256(f"{who}\n{config.teacher_model}".encode()).hexdigest()[:12]
    questions = partial(_questions, rows)
    with records.open_file(rows) as file:
        total = file.metadata.num_rows
    with open_ledger(folder, context.shelf) as ledger:
        yield Rounds(config, who, ledger, questions, context, folder, total), ledger


@contextmanager
def _endpoints(config: DistillSection) -> Iterator[tuple[Endpoint, ...]]:
    """The places to ask; the first names the teacher."""
    if config.teacher != "scripted":
        yield resolve(config, os.environ)
        return
    with scripted.serve(error_rate=config.scripted_error_rate) as handle:
        yield (Endpoint(_identity(config), handle.url, NO_KEY),)


def _identity(config: DistillSection) -> str:
    """Who answers, for the ledger."""
    if config.teacher == "scripted":
        return f"scripted {script.digest()} {config.scripted_error_rate:g}"
    return identity(config, os.environ)


def _is_asked_again(config: DistillSection, example: Example, entry: Entry) -> bool:
    return judge_entry(example, entry, config).reason in ASKED_AGAIN


# --- judging ---------------------------------------------------------------------------------


def _judge_all(config: DistillSection, rounds: Rounds) -> Tries:
    """What the ledger has on each example; an answer that two rows share is paid by the first."""
    paid: set[str] = set()
    for example, answered in rounds.answers():
        tries = []
        for variant, key, entry in answered:
            row = replace(judge_entry(example, entry, config), variant=variant)
            tries.append(replace(row, cost_usd=0.0) if key in paid else row)
            paid.add(key)
        yield example, tries


def judge_entry(example: Example, entry: Entry, config: DistillSection) -> Rationale:
    """The rationale in a recorded answer. Pure."""
    replies = Reply.all(entry.response)
    return elect([judge(example, reply, config, batch=entry.batch) for reply in replies])


def elect(rows: Sequence[Rationale]) -> Rationale:
    """The one of several samples that stands for all: if most end in the right answer, the first
    of these that the filter keeps, which is as good a draw as a single one. Pure.
    """
    right = [row for row in rows if row.reason not in PAPER]
    if 2 * len(right) > len(rows):
        chosen = next((row for row in right if not row.reason), right[0])
    elif right:
        chosen = replace(right[0], reason="minority")
    else:
        commonest = Counter(row.reason for row in rows).most_common(1)[0][0]
        chosen = next(row for row in rows if row.reason == commonest)
    return replace(chosen, num_samples=len(rows), num_right=len(right))


def judge(
    example: Example, reply: Reply | None, config: DistillSection, *, batch: bool = False
) -> Rationale:
    """The rationale in `reply`, with the reason why it is set aside if it is. Pure."""
    named = config.teacher in ("scripted", PUBLISHED)
    teacher = config.teacher if named else config.teacher_model
    if reply is None:
        return Rationale(example.id, "", "", "empty", teacher, 0, 0, 0.0, reason="failed")
    found = answers.extract(reply.text, truncated=reply.finish_reason == "length")
    measures = measure(example, answers.parts(reply.text)[0], found.value)
    return Rationale(
        example_id=example.id,
        text=reply.text,
        answer=found.value,
        status=found.status,
        teacher=teacher,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost_usd=reply.cost_usd(price_of(config), batch=batch),
        reason=_reason(example, reply, found) or objection(measures, config.filter),
        detail=reply.refusal or reply.error,
        batch=batch,
        **vars(measures),
    )


def judge_published(example: Example, config: DistillSection) -> Rationale:
    """The published rationale of an example, with the reason if it is set aside. Pure."""
    text = example.meta.get("rationale")
    if text is None:
        return replace(judge(example, None, config), reason="unpublished")
    return judge(example, Reply(text, "stop", "", 0, 0), config)


def _reason(example: Example, reply: Reply, found: answers.Answer) -> str:
    """Why the paper's filter sets a reply aside, "" if it does not."""
    thought, conclusion = answers.parts(reply.text)
    checks = {
        "filtered": reply.finish_reason == "content_filter",
        "unanswerable": bool(reply.error),
        "refusal": _refuses(reply, found),
        "truncated": reply.finish_reason == "length",
        "empty": found.status == "empty" or (found.status == "marker" and not thought),
        # One that goes on after its answer does not end with it.
        "no_marker": found.status != "marker" or len(conclusion.splitlines()) > 1,
    }
    first = next((reason for reason, holds in checks.items() if holds), "")
    return first or ("" if judging.is_correct(example, found.value) else "mismatch")


def _refuses(reply: Reply, found: answers.Answer) -> bool:
    said = reply.text.strip().lower().replace("\u2019", "'")
    return bool(reply.refusal) or (found.status != "marker" and said.startswith(REFUSALS))


# --- writing ---------------------------------------------------------------------------------


def _write(
    config: DistillSection, tries: Tries, folder: Path, hint: str = "", stopped: str = ""
) -> dict[str, float]:
    """Write the files row by row, and count.

    Raises:
        TeacherError: too many questions have no answer, or no rationale is kept.
    """
    found, num_open = Tally(), 0
    with (
        records.Writer(folder / "rationales.parquet", Rationale) as kept,
        records.Writer(folder / "rejected.parquet", Rationale) as rejected,
    ):
        for example, rows in tries:
            if stopped and not rows:
                num_open += 1
                continue
            *before, last = rows or [judge(example, None, config)]
            for row in (*(replace(row, superseded=True) for row in before), last):
                (rejected if row.reason else kept).add(row)
                found.add(example.dataset, row)
    problem = stopped or _problem(config, found.all.reasons, hint)
    told = {
        "stopped": problem,
        "num_open": num_open,
        "settings": config.model_dump(mode="json", include=TOLD),
        **found.to_json(),
    }
    (folder / tally.FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if problem and not stopped:
        raise TeacherError(problem)
    return {} if stopped else found.metrics() | status_rates(found.statuses())


def _problem(config: DistillSection, reasons: Counter[str], hint: str) -> str:
    """Why the answers will not do, "" if they will."""
    num_failed, total = reasons["failed"], reasons.total()
    if num_failed > config.max_failed_rate * total:
        return (
            f"distill: {num_failed} of {total} questions got no answer, more than "
            f"distill.max_failed_rate {config.max_failed_rate:g} allows; run again to ask them "
            "again (answers are kept), or allow more"
        )
    if reasons[""]:
        return ""
    found = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())) or "no examples"
    return f"distill: not one rationale was kept ({found}); {hint}"
