"""examples -> rationales: the teacher explains each annotated answer; who disagrees is set aside.

The filter of the paper (arXiv 2410.16198): a rationale is kept only if the final answer in it
equals the annotation by the dataset's own metric; mismatches are dropped, not asked again, as
most are errors of the annotation. Every answer is in the ledger before it is judged, so that a
killed run resumes, and another filter costs nothing. Requests to be learned word for word (kind
`instruct`) are not asked.

Teacher `published`: the rationale that an example brings along (`meta["rationale"]`) is taken for
the reply and judged alike; nobody is asked and nothing is paid.

Costs are tokens times `distill.price`; for the scripted teacher, what they would have been.

Files: `rationales.parquet` (kept) and `rejected.parquet` (with `reason`), in example order.
"""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from chainsight import answers, records
from chainsight.config import DistillSection
from chainsight.context import Context, Progress
from chainsight.decision import dataset_of
from chainsight.demo import rationales as script
from chainsight.demo import teacher as scripted
from chainsight.errors import RecordError, TeacherError
from chainsight.metrics import judging
from chainsight.records import Example, Rationale
from chainsight.scoring import status_rates
from chainsight.teacher import asking
from chainsight.teacher.cost import Budget, budget_of, price_of
from chainsight.teacher.endpoint import NO_KEY, Endpoint, resolve
from chainsight.teacher.ledger import Ledger, open_ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question, first, request_key

log = logging.getLogger(__name__)

NOT_SENT = ""
PUBLISHED = "published"
PUBLISHED_HINT = "take a dataset that brings rationales (sharegpt4o_sft), or choose another teacher"
NOBODY_ASKED = {"num_asked": 0.0, "num_from_ledger": 0.0}
REASONS = ("mismatch", "no_marker", "truncated", "refusal", "empty", "failed", "unpublished")
"""Why a rationale is set aside. `failed`: the teacher gave no answer; `unpublished`: the teacher is
`published`, and the example brings no rationale."""
REFUSALS = ("i'm sorry", "i am sorry", "sorry,", "i can't", "i cannot", "i'm unable")
"""How a refusal starts that the endpoint does not mark as one."""


def run(
    config: DistillSection, *, examples: Path, rationales: Path, context: Context
) -> dict[str, float]:
    """Ask for what the ledger lacks, judge all answers, write both files.

    Raises:
        TeacherError: no teacher, no money, too many failures, or not one rationale kept.
    """
    rows = examples / "examples.parquet"
    if config.teacher == PUBLISHED:
        judged = [judge_published(example, config) for example in _questions(rows)]
        return _finish(config, judged, rationales, hint=PUBLISHED_HINT) | NOBODY_ASKED
    with (
        _endpoints(config) as endpoints,
        open_ledger(_ledger_path(context, config, endpoints[0])) as ledger,
    ):
        for path in sorted(context.work.glob("answers-*.jsonl")):
            ledger.adopt(path)
        keys = [_key(config, endpoints[0], example) for example in _questions(rows)]
        num_known = sum(key in ledger for key in set(keys))
        progress = context.progress
        num_asked = _ask_open(config, endpoints, ledger, rows=rows, keys=keys, progress=progress)
        judged = list(_judge_all(config, rows, keys, ledger))
    hint = f"look at the answers in {ledger.path}, or choose another teacher"
    counts = {"num_asked": num_asked, "num_from_ledger": num_known}
    return _finish(config, judged, rationales, hint) | counts


def _questions(rows: Path) -> Iterator[Example]:
    """The examples that are questions, in order."""
    return (e for e in records.read(rows, Example) if e.kind != "instruct")


def _finish(
    config: DistillSection, judged: list[Rationale], rationales: Path, hint: str
) -> dict[str, float]:
    kept = [row for row in judged if not row.reason]
    rejected = [row for row in judged if row.reason]
    _check(config, judged, hint)
    records.write(rationales / "rationales.parquet", kept, Rationale)
    records.write(rationales / "rejected.parquet", rejected, Rationale)
    return _summary(judged)


def run_shard(config: DistillSection, *, examples: Path, context: Context) -> None:
    """Ask this shard's questions; the answers stay in a ledger of its own in the work folder.

    Equal questions fall into one shard, and each shard has its share of the budget.

    Raises:
        TeacherError: no teacher, no money.
    """
    if config.teacher == PUBLISHED:
        return
    rows, shard = examples / "examples.parquet", context.shard
    share = config.budget_usd and config.budget_usd / shard.count
    config = config.model_copy(update={"budget_usd": share})
    path = context.work / f"answers-{shard.number:03d}.jsonl"
    with _endpoints(config) as endpoints, open_ledger(path) as ledger:
        keys = [_key(config, endpoints[0], example) for example in _questions(rows)]
        own = [key if key and shard.has(int(key[:8], 16)) else NOT_SENT for key in keys]
        _ask_open(config, endpoints, ledger, rows=rows, keys=own, progress=context.progress)


@contextmanager
def _endpoints(config: DistillSection) -> Iterator[tuple[Endpoint, ...]]:
    if config.teacher != "scripted":
        yield resolve(config, os.environ)
        return
    rate = config.scripted_error_rate
    with scripted.serve(error_rate=rate) as handle:
        yield (Endpoint(f"scripted {script.digest()} {rate:g}", handle.url, NO_KEY),)


def _ledger_path(context: Context, config: DistillSection, endpoint: Endpoint) -> Path:
    """A file per teacher, so that runs with different teachers do not wait for each other."""
    kind = config.teacher if config.teacher in ("openai", "scripted") else "endpoint"
    digest = sha256(f"{endpoint.identity}\n{config.teacher_model}".encode()).hexdigest()
    return context.ledger / f"{kind}-{digest[:12]}.jsonl"


def _key(config: DistillSection, endpoint: Endpoint, example: Example) -> str:
    """The request's address, `NOT_SENT` for an image that cannot be sent."""
    try:
        return request_key(config, endpoint.identity, example)
    except RecordError as error:
        log.warning("%s: not asked: %s", example.id, error)
        return NOT_SENT


# --- asking ----------------------------------------------------------------------------------


def _ask_open(
    config: DistillSection,
    endpoints: tuple[Endpoint, ...],
    ledger: Ledger,
    *,
    rows: Path,
    keys: list[str],
    progress: Progress,
) -> int:
    """Ask what has no recorded answer; return how many answers came."""
    requests = set(keys) - {NOT_SENT}
    known = sum(key in ledger for key in requests)
    if known == len(requests):
        return 0
    budget = _budget(config, ledger, keys)
    with progress.task("distill", len(requests), "question", done=known) as task:
        questions = _open_questions(config, ledger, rows, keys)
        asked = asking.ask(
            config, endpoints, ledger, questions, budget=budget, total=len(keys), task=task
        )
    return asked.num_asked


def _budget(config: DistillSection, ledger: Ledger, keys: list[str]) -> Budget:
    """The budget less what the recorded answers to these questions have cost."""
    budget = budget_of(config, len(keys))
    for key in dict.fromkeys(keys):
        if entry := ledger.get(key):
            budget.add(Reply.of(entry.response).cost_usd(price_of(config), batch=entry.batch))
    return budget


def _open_questions(
    config: DistillSection, ledger: Ledger, rows: Path, keys: list[str]
) -> Iterator[Question]:
    """Read images as they are wanted; two rows that ask the same are asked once."""
    taken = set()
    for key, example in zip(keys, _questions(rows), strict=True):
        if key != NOT_SENT and key not in ledger and key not in taken:
            taken.add(key)
            yield Question(key, example, first(config))


# --- judging ---------------------------------------------------------------------------------


def _judge_all(
    config: DistillSection, rows: Path, keys: list[str], ledger: Ledger
) -> Iterator[Rationale]:
    paid = set()
    for key, example in zip(keys, _questions(rows), strict=True):
        entry = ledger.get(key)
        rationale = judge(example, Reply.of(entry.response) if entry else None, config)
        yield replace(rationale, cost_usd=0.0) if key in paid else rationale
        paid.add(key)


def judge(example: Example, reply: Reply | None, config: DistillSection) -> Rationale:
    """The rationale in `reply`, with the reason why it is set aside if it is. Pure."""
    named = config.teacher in ("scripted", PUBLISHED)
    teacher = config.teacher if named else config.teacher_model
    if reply is None:
        return Rationale(example.id, "", "", "empty", teacher, 0, 0, 0.0, reason="failed")
    found = answers.extract(reply.text, truncated=reply.finish_reason == "length")
    return Rationale(
        example_id=example.id,
        text=reply.text,
        answer=found.value,
        status=found.status,
        teacher=teacher,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost_usd=reply.cost_usd(price_of(config)),
        reason=_reason(example, reply, found),
    )


def judge_published(example: Example, config: DistillSection) -> Rationale:
    """The published rationale of an example, with the reason if it is set aside. Pure."""
    text = example.meta.get("rationale")
    if text is None:
        return replace(judge(example, None, config), reason="unpublished")
    return judge(example, Reply(text, "stop", "", 0, 0), config)


def _reason(example: Example, reply: Reply, found: answers.Answer) -> str:
    """Why a reply is set aside, "" if it is kept."""
    thought, conclusion = _parts(reply.text)
    checks = {
        "refusal": _refuses(reply, found),
        "truncated": reply.finish_reason == "length",
        "empty": found.status == "empty" or (found.status == "marker" and not thought),
        # One that goes on after its answer does not end with it.
        "no_marker": found.status != "marker" or len(conclusion.splitlines()) > 1,
    }
    first = next((reason for reason, holds in checks.items() if holds), "")
    return first or ("" if judging.is_correct(example, found.value) else "mismatch")


def _refuses(reply: Reply, found: answers.Answer) -> bool:
    if reply.refusal or reply.finish_reason == "content_filter":
        return True
    said = reply.text.strip().lower().replace("\u2019", "'")
    return found.status != "marker" and said.startswith(REFUSALS)


def _parts(text: str) -> tuple[str, str]:
    """What stands before and after the last marker; all of it before, if there is none."""
    marks = list(answers.MARKER.finditer(text))
    start, end = marks[-1].span() if marks else (len(text), len(text))
    return text[:start].strip(), text[end:].strip()


# --- counting --------------------------------------------------------------------------------


def _summary(judged: list[Rationale]) -> dict[str, float]:
    reasons = Counter(row.reason or "kept" for row in judged)
    counts = {f"num_{reason}": float(reasons[reason]) for reason in ("kept", *REASONS)}
    return counts | {
        "num_examples": float(len(judged)),
        "keep_rate": reasons["kept"] / len(judged),
        "prompt_tokens": float(sum(row.prompt_tokens for row in judged)),
        "completion_tokens": float(sum(row.completion_tokens for row in judged)),
        "cost_usd": math.fsum(row.cost_usd for row in judged),
        **status_rates((dataset_of(row.example_id), row.status) for row in judged),
    }


def _check(config: DistillSection, judged: list[Rationale], hint: str) -> None:
    reasons = Counter(row.reason or "kept" for row in judged)
    if reasons["failed"] > config.max_failed_rate * len(judged):
        raise TeacherError(
            f"distill: {reasons['failed']} of {len(judged)} questions got no answer, more than "
            f"distill.max_failed_rate {config.max_failed_rate:g} allows; run again to ask them "
            "again (answers are kept), or allow more"
        )
    if not reasons["kept"]:
        found = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())) or "no examples"
        raise TeacherError(f"distill: not one rationale was kept ({found}); {hint}")
