"""Tables of the log and of two versions, for people."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chainsight.promotion.diff import Comparison, Flip, Mean
from chainsight.promotion.entry import Entry

MODE_TITLES = {"direct": "direct", "cot": "reasoned"}
_MAX_ANSWER = 40  # characters


def show_history(
    console: Console, model: str, entries: Sequence[Entry], notes: Iterable[str]
) -> None:
    """The log, the newest last; then what is wrong with it."""
    table = Table(title=f"Champions of {model}", title_justify="left")
    for name in ("entry", "time (UTC)", "what", "from", "to", "who", "why"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        moment = entry.time.partition(".")[0].replace("T", " ")
        arrow = [_version(entry.from_version), _version(entry.to_version)]
        table.add_row(
            str(entry.number), moment, entry.action, *arrow, escape(entry.who), escape(entry.why)
        )
    console.print(table)
    if entries:
        last = entries[-1]
        console.print(
            f"champion  {_version(last.champion)}, previous  {_version(last.previous)}",
            highlight=False,
        )
    for note in notes:
        console.print(f"[bold red]look[/] {escape(note)}", highlight=False, soft_wrap=True)


def _version(number: int | None) -> str:
    return "-" if number is None else str(number)


def show_comparison(console: Console, found: Comparison, limit: int) -> None:
    """Scores, answers, settings, verdicts."""
    console.print(_score_table(found))
    console.print(
        f"of {found.num_shared} questions asked of both: {len(found.won)} won, "
        f"{len(found.lost)} lost",
        highlight=False,
    )
    for title, flips in (("won", found.won), ("lost", found.lost)):
        if flips and limit:
            console.print(_flip_table(title, flips, limit))
    if found.settings:
        table = Table("setting", "before", "after", title="Settings that differ")
        table.title_justify = "left"
        for one in found.settings:
            table.add_row(one.name, escape(str(one.before)), escape(str(one.after)))
        console.print(table)
    titles = {
        "before": f"gate on {found.before}",
        "after": f"gate on {found.after}",
        "after_against_before": f"gate on {found.after} against {found.before}, now",
    }
    for key, title in titles.items():
        said = found.gate[key] or "(not recorded)"
        console.print(f"{title}: {said}", highlight=False, markup=False, soft_wrap=True)


def _score_table(found: Comparison) -> Table:
    table = Table(title="Accuracy, % (± standard error)", title_justify="left")
    for name in ("mode", "benchmark"):
        table.add_column(name)
    for name in (found.before, found.after, "difference"):
        table.add_column(name.removeprefix("models:/"), justify="right")
    for mode, datasets in found.scores.items():
        for dataset, pair in datasets.items():
            before, after = pair["before"], pair["after"]
            change = f"{100 * (after.value - before.value):+.1f}" if before and after else "-"
            table.add_row(MODE_TITLES.get(mode, mode), dataset, _cell(before), _cell(after), change)
    return table


def _cell(mean: Mean | None) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean.value:.1f} ± {100 * mean.standard_error:.1f} ({mean.num_examples})"


def _flip_table(title: str, flips: Sequence[Flip], limit: int) -> Table:
    shown = f"{title} (the first {limit} of {len(flips)})" if len(flips) > limit else title
    table = Table("question", "mode", "before", "after", title=shown)
    table.title_justify = "left"
    for flip in flips[:limit]:
        answers = [
            escape(f"{_short(flip.before)} ({flip.score_before:g})"),
            escape(f"{_short(flip.after)} ({flip.score_after:g})"),
        ]
        table.add_row(escape(flip.example_id), MODE_TITLES.get(flip.mode, flip.mode), *answers)
    return table


def _short(text: str) -> str:
    words = " ".join(text.split()) or "(no answer)"
    return words if len(words) <= _MAX_ANSWER else words[: _MAX_ANSWER - 1] + "…"
