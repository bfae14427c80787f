"""The section on distillation: what was dropped, why, what it cost, what a filter would do.

Whatever a teacher or a data set wrote is escaped.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from chainsight.inventory.figures import number, share
from chainsight.inventory.marks import measure
from chainsight.quality.reasons import REASONS, UNANSWERED
from chainsight.report import parts
from chainsight.report.answers import Answers, SetAside
from chainsight.webpage import table, tiles

COLOURS = ("#d9705a", "#e0a526", "#8e63c7", "#3b82d6", "#d16ba5", "#7a9a3a", "#96603a", "#3f4f8f")
"""Of the reasons, the most frequent first; further ones are grey."""
STYLE = """
.teacher h3 { margin: 26px 0 6px; }
.fate { display: flex; height: 15px; min-width: 260px; border-radius: 3px; overflow: hidden;
  background: var(--line); margin-top: 4px; }
.fate span { min-width: 2px; } .was-kept { background: #4b8f9b; } .rest { background: #8b949e; }
.legend { font-size: 13px; color: var(--faint); margin: 6px 0 10px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px;
  margin: 0 5px 0 14px; } .legend i:first-child { margin-left: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 8px 26px; }
.grid figure { margin: 6px 0; } .grid figure svg { min-width: 0; max-width: 400px; }
figcaption { font-size: 13px; color: var(--faint); } figcaption b { color: var(--text); }
svg .m { fill: #4b8f9b; } svg .t { fill: var(--faint); font-size: 11px; }
svg .v { fill: var(--text); font-size: 11px; }
.why summary { padding: 4px 0; color: inherit; } .why .said { border: 0; padding: 0; }
.why summary b { color: var(--link); } .why .card { grid-template-columns: 150px 1fr; }
"""
Told = Mapping[str, Any]


def section(answers: Answers | None) -> str:
    """The section, "" where nothing is known of the answers."""
    if answers is None:
        return ""
    told, every = answers.told, answers.told["all"]
    if not every["num_examples"]:
        return f"<h2>{TITLE}</h2>{_stopped(told)}"
    order = sorted(every["reasons"], key=lambda reason: -every["reasons"][reason])
    colours = dict(zip(order, COLOURS, strict=False))
    parts = (
        f"<h2>{TITLE}</h2>",
        _stopped(told),
        _headline(answers),
        _fates(told, colours),
        _reasons(answers, colours),
        _bill(answers),
        _measures(every),
        _would(told),
    )
    return f'<div class="teacher">{"".join(parts)}</div>'


TITLE = "What the teacher's answers became"


def _stopped(told: Told) -> str:
    if not told["stopped"]:
        return ""
    asked = told["all"]["num_examples"]
    below = f"Below are the {number(asked)} questions that have an answer; " if asked else ""
    return (
        f'<div class="banner bad"><b>distill stopped.</b> {escape(told["stopped"])}<br>{below}'
        f"{number(told['num_open'])} have none yet.</div>"
    )


def _headline(answers: Answers) -> str:
    every = answers.told["all"]
    total, kept = answers.cost_usd, every["num_kept"]
    num_answers = sum(every[fate]["num_answers"] for fate in FATES)
    shown = [
        (number(every["num_examples"]), "questions asked"),
        (number(num_answers), "answers"),
        (number(kept), f"rationales kept, {share(kept, every['num_examples'])}"),
        (_usd(total), "for all answers"),
        (_usd(total - every["kept"]["cost_usd"]), "of it for answers set aside"),
        (_usd(total / kept) if kept else "-", "for each rationale kept"),
    ]
    return tiles(shown)


FATES = {
    "kept": "kept",
    "dropped": "set aside",
    "superseded": "set aside, asked again",
}


def _usd(cost: float) -> str:
    """Dollars; small ones with two figures that count."""
    return f"${cost:,.2f}" if cost >= 0.1 or not cost else f"${cost:.2g}"


def _words(reason: str) -> str:
    return reason.replace("_", " ")


# --- what became of them ----------------------------------------------------------------------


def _fates(told: Told, colours: Mapping[str, str]) -> str:
    groups = dict(told["datasets"])
    if len(groups) > 1:
        groups = {"all": told["all"], **groups}
    rows = [
        [
            "<b>all</b>" if name == "all" else escape(name),
            _bar(group, colours),
            number(group["num_examples"]),
            number(group["num_kept"]),
            share(group["num_kept"], group["num_examples"]),
            escape(", ".join(f"{number(n)} {_words(r)}" for r, n in _ranked(group))) or "-",
        ]
        for name, group in groups.items()
    ]
    head = ["dataset", "of its questions", "asked", "kept", "", "set aside"]
    return _legend(told["all"], colours) + table(head, rows, (2, 3, 4))


def _ranked(group: Told) -> list[tuple[str, int]]:
    return sorted(group["reasons"].items(), key=lambda item: -item[1])


def _bar(group: Told, colours: Mapping[str, str]) -> str:
    said = ", ".join(f"{n} {_words(r)}" for r, n in (("kept", group["num_kept"]), *_ranked(group)))
    pieces = "".join(
        f'<span class="rest" style="flex:{n} 0 0;background:{colours.get(r, "")}"></span>'
        for r, n in _ranked(group)
    )
    kept = f'<span class="was-kept" style="flex:{group["num_kept"]} 0 0"></span>'
    kept = kept if group["num_kept"] else ""
    return f'<div class="fate" role="img" aria-label="{said}" title="{said}">{kept}{pieces}</div>'


def _legend(every: Told, colours: Mapping[str, str]) -> str:
    named = "".join(
        f'<i class="rest" style="background:{colours.get(r, "")}"></i>{_words(r)}'
        for r, _ in _ranked(every)
    )
    return f'<p class="legend"><i class="was-kept"></i>kept{named}</p>'


# --- why --------------------------------------------------------------------------------------


def _reasons(answers: Answers, colours: Mapping[str, str]) -> str:
    every = answers.told["all"]
    blocks = []
    for reason in dict.fromkeys((*(r for r, _ in _ranked(every)), *answers.shown)):
        summary = (
            f'<i class="dot rest" style="background:{colours.get(reason, "")}"></i>'
            f"<b>{_words(reason)}</b>: {_told(reason, every)}. "
            f'<span class="faint">{escape(REASONS[reason])}</span>'
        )
        cards = "".join(_card(one) for one in answers.shown.get(reason, ()))
        blocks.append(f'<details class="why"><summary>{summary}</summary>{cards}</details>')
    return "<h3>Why answers were set aside</h3>" + "".join(blocks) if blocks else ""


def _told(reason: str, every: Told) -> str:
    """Questions lost for a reason, answers that it cost, and how true these are."""
    lost, num_answers = every["reasons"].get(reason, 0), every["answers_by_reason"].get(reason, 0)
    said = [f"{number(lost)} of the questions ({share(lost, every['num_examples'])})"]
    if reason not in UNANSWERED:
        said.append(f"{number(num_answers)} answers for {_usd(every['cost_by_reason'][reason])}")
    if reason in every["agreement_by_reason"]:
        agreed = every["agreement_by_reason"][reason]
        said.append(f"{100 * agreed:.0f} % of their numbers are in the charts' tables")
    return ", ".join(said)


def _card(one: SetAside) -> str:
    row, example = one.row, one.example
    shown = parts.images([one.picture] if one.picture else [], row.example_id)
    said = escape(row.text or row.detail) or "(nothing)"
    return (
        f'<div class="card"><div>{shown}<p class="faint">{escape(row.example_id)}</p></div><div>'
        f"{parts.question(example.question, example.choices or ())}"
        f"<p>annotated: <b>{escape(' | '.join(example.references))}</b></p>"
        f'<div class="said"><div class="text">{said}</div><p class="bad">{_why(one)}</p></div>'
        "</div></div>"
    )


def _why(one: SetAside) -> str:
    """What was the matter with this very answer."""
    row, example = one.row, one.example
    agrees = f"{100 * (row.agreement or 0):.0f} % of its numbers are in the chart's table"
    right = f"right answer “{row.answer}”, but "
    words = {
        "mismatch": f"its answer “{row.answer}” is not the annotated one by "
        f"{example.reward or example.metric}"
        + (f"; {agrees}" if row.agreement is not None else ""),
        "minority": f"{row.num_right} of {row.num_samples} samples end in the annotated answer",
        "too_short": f"{right}only {number(row.num_words)} words before it",
        "too_long": f"{right}{number(row.num_words)} words before it",
        "repetitive": f"{right}{100 * row.repetition:.0f} % of its four-word sequences are repeats",
        "answer_first": f"{right}it begins with it",
        "disagrees": f"{right}only {agrees}",
    }.get(row.reason, REASONS[row.reason])
    told = f" ({row.detail})" if row.detail and row.text else ""
    again = "; asked again, and the next answer stands for it" if row.superseded else ""
    paid = f" · {_usd(row.cost_usd)}, {number(row.completion_tokens)} tokens"
    return escape(words + told + again + (paid if row.completion_tokens else ""))


# --- what it cost -----------------------------------------------------------------------------


def _bill(answers: Answers) -> str:
    every = answers.told["all"]
    rows = [_bill_row(FATES[fate], every[fate]) for fate in FATES if every[fate]["num_answers"]]
    keys = ("num_answers", "num_batch", "prompt_tokens", "completion_tokens", "cost_usd")
    total = {key: sum(every[fate][key] for fate in FATES) for key in keys}
    rows.append(_bill_row("<b>all</b>", total))
    head = ["answers", "number", "tokens in", "tokens out", "dollars"]
    return (
        "<h3>What it cost</h3>"
        + table(head, rows, range(1, 5))
        + "".join(f"<p>{line}</p>" for line in _remarks(answers, total))
        + _rounds(answers.told["rounds"])
    )


def _bill_row(name: str, bill: Told) -> list[str]:
    counts = [number(bill[key]) for key in ("num_answers", "prompt_tokens", "completion_tokens")]
    return [name, *counts, _usd(bill["cost_usd"])]


def _remarks(answers: Answers, total: Told) -> list[str]:
    """Where the answers came from, and how the bill compares with what was predicted."""
    metrics, lines = answers.metrics, []
    if "num_asked" in metrics:
        asked, known = metrics["num_asked"], metrics["num_from_ledger"]
        lines.append(
            f"{number(asked)} answers were paid for by this run; {number(known)} were in the "
            "ledger, paid before."
        )
    if total["num_batch"]:
        lines.append(f"{number(total['num_batch'])} came by the Batch API, at its price.")
    if expected := metrics.get("estimated_usd"):
        off = answers.told["rounds"][0]["cost_usd"] / expected - 1
        lines.append(
            f"Estimated were {_usd(expected)}, without retries; it was {100 * off:+.0f} %."
        )
    if troubles := _troubles(metrics):
        lines.append(f"On the way: {troubles}.")
    if failed := answers.told["all"]["reasons"].get("failed"):
        lines.append(f"No answer came to {number(failed)} of the questions.")
    return lines


TROUBLES = {
    "num_limited": "{} tries were refused for their rate (HTTP 429)",
    "num_hung": "{} were silent and cut",
    "num_retried": "{} were repeats",
    "num_maybe_paid": "{} ended without an answer and may have been billed all the same, for "
    "{usd} at most, which is in no figure here",
    "num_adopted": "{} batches of earlier or other runs were taken over",
}
"""Of asking, by their metric."""


def _troubles(metrics: Mapping[str, float]) -> str:
    usd = _usd(metrics.get("maybe_paid_usd", 0.0))
    said = [
        words.format(number(metrics[name]), usd=usd)
        for name, words in TROUBLES.items()
        if metrics.get(name)
    ]
    return "; ".join(said)


def _rounds(rounds: list[Told]) -> str:
    if len(rounds) < 2:
        return ""
    rows = [
        [
            f"retry {one['round']}" if one["round"] else "first question",
            number(one["num_answers"]),
            number(one["num_kept"]),
            share(one["num_kept"], one["num_answers"]),
            _usd(one["cost_usd"]),
            _usd(one["cost_usd"] / one["num_kept"]) if one["num_kept"] else "-",
        ]
        for one in rounds
    ]
    head = ["question", "answers", "kept", "", "dollars", "for each one kept"]
    return "<h3>What the retries brought</h3>" + table(head, rows, range(1, 6))


# --- how good they are ------------------------------------------------------------------------


def _measures(every: Told) -> str:
    found = every["measured"]
    if not (right := found["num_answers"]):
        return ""
    shown = [
        measure("Words before the answer", found["words"]),
        measure("Repeated four-word sequences, %", _percent(found["repetition_percent"])),
    ]
    if found["num_checked"]:
        shown.append(
            measure(
                "Numbers that the chart's table bears out, %", _percent(found["agreement_percent"])
            )
        )
    first = found["num_answer_first"]
    return (
        f"<h3>The {number(right)} answers that end right</h3>"
        f"<p>{number(first)} ({share(first, right)}) begin with the answer. "
        f"{number(found['num_checked'])} are about a chart whose table is known, and name numbers."
        f'</p><div class="grid">{"".join(shown)}</div>'
    )


def _percent(spread: Told) -> Told:
    """The ends of a share are 0 and 100."""
    ends = {"up to 0": "0", "100 on": "100"}
    return {**spread, "bins": [(ends.get(label, label), n) for label, n in spread["bins"]]}


def _would(told: Told) -> str:
    """What each setting would set aside, or does."""
    every = told["all"]
    right = every["measured"]["num_answers"]
    rows = [
        [f"<code>{escape(name)}</code>", number(count), share(count, right)]
        for name, count in every["would_drop"].items()
        if count
    ]
    if not rows:
        return ""
    now = ", ".join(f"{name}: {value}" for name, value in told["settings"]["filter"].items())
    return (
        "<details><summary>What a filter would set aside of them</summary>"
        f'<p class="faint">distill.filter was {escape(now)}.</p>'
        f"{table(['distill.filter', 'answers', 'share'], rows, (1, 2))}</details>"
    )
