"""The section on training questions: all candidates, which were paired and why, what DPO reads."""

from chainsight.report import parts
from chainsight.report.exercises import (
    MAX_LENGTH,
    OUTCOMES,
    Attempt,
    Exercise,
    Exercises,
    Rules,
)
from chainsight.webpage import table, text, traced

STYLE = """
.exercise table { font-size: 14px; } .exercise td { min-width: 70px; }
.exercise tr.paired > td:first-child { box-shadow: inset 3px 0 var(--link); padding-left: 10px; }
.exercise td:last-child { min-width: 300px; width: 55%; }
.exercise > div { min-width: 0; }
.cut { color: var(--faint); text-decoration: line-through; }
"""


def section(found: Exercises) -> str:
    """The section, "" where nothing was said to a training question yet."""
    if not found.shown:
        return ""
    rows = [
        [
            words,
            traced(f"outcomes/{name}", number, f"{number:,}", SOURCE),
            f"{sum(one.outcome == name for one in found.shown):,}",
        ]
        for name, words in OUTCOMES.items()
        if (number := found.counts.get(name))
    ]
    return (
        "<h2>Candidates and pairs</h2>"
        f"<p>{_settings(found.rules)} Shown are some questions of each outcome, from all over.</p>"
        + table(["outcome", "questions", "shown"], rows, (1, 2), "Questions by outcome")
        + "".join(_exercise(one, found.rules) for one in found.shown)
    )


SOURCE = (
    "candidates.parquet: share of rows with score right, by example_id, against "
    "pair.min_accuracy and pair.max_accuracy; pairs.parquet: which have a row"
)


def _settings(rules: Rules) -> str:
    said = "The policy answered training questions several times."
    if rules.band:
        said += (
            f" Those that it answers right in {rules.band[0]:g} to {rules.band[1]:g} of its tries "
            "give pairs of a right and a wrong chain, both ending in the marker."
        )
    if rules.max_words is not None:
        said += (
            f" DPO reads the first {rules.max_words:,} words of each (dpo.max_words); the rest is "
            '<span class="cut">struck out</span>.'
            if rules.max_words
            else " DPO reads them whole (dpo.max_words: 0)."
        )
    return said


def _exercise(one: Exercise, rules: Rules) -> str:
    return (
        f'<article class="card exercise" aria-label="{text(one.example_id)}"><div>'
        f"{parts.images(one.pictures, one.example_id)}</div><div>"
        f'<h3 class="faint">{text(one.example_id)}</h3>'
        f"{parts.question(one.question, one.choices)}{parts.references(one.references)}"
        f"<p>{_outcome(one, rules)}</p>{''.join(_teacher(said) for said in one.teacher)}"
        f"{_candidates(one, rules)}</div></article>"
    )


def _outcome(one: Exercise, rules: Rules) -> str:
    if not one.candidates:
        return OUTCOMES[one.outcome]
    count = len(one.candidates)
    share = f"{one.num_right} of {count} candidates right, {one.num_right / count:.2f}"
    pairs = f": <b>{one.num_pairs} pairs</b>" if one.num_pairs != 1 else ": <b>1 pair</b>"
    band = f" (band {rules.band[0]:g} to {rules.band[1]:g})" if rules.band else ""
    return f"{share}{band}. {OUTCOMES[one.outcome].capitalize()}{pairs if rules.band else ''}."


def _teacher(said: Attempt) -> str:
    return (
        f'<div class="said"><b>{said.who}</b> {parts.verdict(said.right)} '
        f'<span class="faint">{text(said.fate)}</span><div class="text" dir="auto">'
        f"{text(said.text[:MAX_LENGTH]) or '(empty)'}</div></div>"
    )


def _candidates(one: Exercise, rules: Rules) -> str:
    if not one.candidates:
        return ""
    rows = "".join(_row(attempt, rules) for attempt in one.candidates)
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("candidate", "answer", "verdict", "text")
    )
    return (
        f"<details><summary>All {len(one.candidates)} candidates</summary>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></details>"
    )


def _row(attempt: Attempt, rules: Rules) -> str:
    kind = ' class="paired"' if attempt.is_paired else ""
    number = attempt.who.rpartition(" ")[2]
    return (
        f'<tr{kind}><td>{number}</td><td dir="auto">{text(attempt.answer) or "-"}</td>'
        f"<td>{parts.verdict(attempt.right)}</td>"
        f'<td><div class="text" dir="auto">{_cut(attempt, rules)}</div>'
        f'<span class="faint">{text(attempt.fate)}{_status(attempt)}</span></td></tr>'
    )


def _status(attempt: Attempt) -> str:
    return "" if attempt.status == "marker" else f" · {attempt.status.replace('_', ' ')}"


def _cut(attempt: Attempt, rules: Rules) -> str:
    """The text; of a paired one what DPO does not read is struck out."""
    shown = attempt.text[:MAX_LENGTH]
    if not shown.strip():
        return "(empty)"
    if not attempt.is_paired or not rules.max_words:
        return text(shown)
    kept = " ".join(shown.split(" ")[: rules.max_words])  # as `stages.dpo.cut`
    rest = shown[len(kept) :]
    return text(kept) + (f'<del class="cut">{text(rest)}</del>' if rest else "")
