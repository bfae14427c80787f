"""The page of the paper's tables. Names are users' own, so they are escaped."""

from collections.abc import Iterable
from html import escape

from chainsight.report.paper.figures import Estimate
from chainsight.report.paper.layout import Cell, Line, Paper, Shown
from chainsight.report.paper.settings import Setting
from chainsight.report.paper.terms import BENCHMARKS
from chainsight.report.parts import MODE_WORDS
from chainsight.webpage import document, table

STYLE = """
table.paper { font-size: 14px; width: auto; min-width: 60%; margin: 18px 0 26px; }
table.paper th, table.paper td { padding: 4px 14px 4px 6px; vertical-align: baseline; }
table.paper caption { text-align: left; font-size: 14px; padding: 0 6px 6px; }
table.paper th[scope=row] { color: var(--text); font-weight: 600; }
table.paper td { white-space: nowrap; }
table.paper tr.ours td, table.paper tr.ours th { background: var(--card); }
table.paper tr.ours td.n b { color: var(--link); }
table.paper small { color: var(--faint); font-size: 12px; display: block; white-space: nowrap; }
table.paper tr.joined th, table.paper tr.joined td { border-bottom: 0; }
"""
PAPER = "arXiv 2410.16198 (LLaVA-Reasoner)"
READING = (
    "Figures are per cent. Those of a line marked <b>ours</b> are this store's: the mean over the "
    "seeds, and below it the 95 % interval over them (Student's t); of one seed, the interval over "
    "the questions. They stand beside the paper's only where the benchmark is the same one: "
    "dataset, split, metric, and all of its questions. The paper names neither splits nor metrics; "
    "those taken here are what the field uses. No mean has figures of both."
)


def build(name: str, paper: Paper) -> str:
    """One self-contained HTML page."""
    head = f'<h1>{escape(name)}: the paper\'s tables</h1><p class="faint">{PAPER}</p>'
    sections = (
        f"{head}<p>{READING}</p>",
        _banner(paper),
        _settings(paper),
        _group("Ours, in the layout of the paper's tables", paper.own, OWN_NOTE),
        _group("The paper's figures, and ours on the same benchmarks", _first_ours(paper.beside)),
    )
    return document(f"Chainsight: {name}, the paper's tables", sections, STYLE)


OWN_NOTE = (
    "Benchmarks that are not the paper's. Rows are named as in the paper; nothing in these tables "
    "is the paper's figure."
)


def _first_ours(tables: Iterable[Shown]) -> list[Shown]:
    return sorted(tables, key=lambda one: not one.has_ours)


def _banner(paper: Paper) -> str:
    same = [c for c in BENCHMARKS if any(_has(one, c) for one in paper.beside)]
    if same:
        words = "Beside the paper's figures: " + ", ".join(BENCHMARKS[c].title for c in same) + "."
    else:
        words = "None of the benchmarks of these runs is one of the paper's."
    others = "; ".join(f"{name} ({why})" for name, why in paper.others.items())
    more = f"<br>In tables of their own: {escape(others)}." if others else ""
    return f'<div class="banner">{escape(words)}{more}</div>'


def _has(one: Shown, column: str) -> bool:
    return any(column in line.cells and line.cells[column].estimate for line in one.lines)


def _settings(paper: Paper) -> str:
    sizes = [one.unlike_the_paper() for one in paper.settings]
    common = [size for size in sizes[0] if all(size in own for own in sizes)] if sizes else []
    rows = [
        [
            f"<b>{escape(one.name)}</b>",
            escape(one.described()),
            escape(rows_of(one, paper)),
            escape("; ".join(size for size in own if size not in common)),
        ]
        for one, own in zip(paper.settings, sizes, strict=True)
    ]
    head = ["our setting", "what it is", "the paper's row", "further sizes that are its own"]
    said = f"<p>Sizes of all of them that are not the paper's: {escape('; '.join(common))}.</p>"
    return (
        "<h2>Which of ours is which row</h2>"
        '<p class="faint">By recipe and settings, not by name.</p>'
        f"{said if common else ''}{table(head, rows)}"
    )


def rows_of(setting: Setting, paper: Paper) -> str:
    """Where a setting stands: `Tables 2 and 6: 4 both (SFT)`."""
    found = {
        f"{one.table.name}: {line.row}": None
        for one in (*paper.own, *paper.beside)
        for line in one.lines
        if line.setting is setting
    }
    return "; ".join(found) or "none: no row of the paper is made like this"


def _group(title: str, tables: Iterable[Shown], note: str = "") -> str:
    made = [_table(one) for one in tables]
    if not made:
        return ""
    about = f'<p class="faint">{note}</p>' if note else ""
    return f"<h2>{escape(title)}</h2>{about}{''.join(made)}"


def _table(one: Shown) -> str:
    heads = "".join(
        f'<th scope="col" class="n">{escape(c if one.own else title(c))}</th>' for c in one.columns
    )
    caption = f"<b>{escape(one.table.name)}.</b> {escape(one.table.title)}."
    if one.table.note and not one.own:
        caption += f" {escape(one.table.note)}"
    if not one.own and not one.has_ours:
        caption += " No run of ours belongs here."
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{escape(one.table.name)}">'
        f'<table class="paper"><caption>{caption}</caption><thead><tr>'
        f'<th scope="col">row of the paper</th><th scope="col">prompt</th>'
        f'<th scope="col">whose</th>{heads}</tr></thead><tbody>{_lines(one)}</tbody></table></div>'
    )


def _lines(one: Shown) -> str:
    made = []
    following: list[Line | None] = [*one.lines[1:], None]
    for line, after in zip(one.lines, following, strict=True):
        marks = ["ours"] if line.setting else []
        marks += ["joined"] if after and after.row == line.row and after.mode == line.mode else []
        made.append(_line(line, one.columns, " ".join(marks)))
    return "\n".join(made)


def _line(line: Line, columns: Iterable[str], mark: str) -> str:
    if line.setting:
        whose = f"ours: {escape(line.setting.name)}"
    else:
        whose = "paper" if line.published else ""
    cells = "".join(f'<td class="n">{_shown(line, column)}</td>' for column in columns)
    return (
        f'<tr class="{mark}"><th scope="row">{escape(line.row)}</th>'
        f'<td class="mode">{MODE_WORDS[line.mode]}</td><td>{whose}</td>{cells}</tr>'
    )


def _shown(line: Line, column: str) -> str:
    if line.published:
        return f"{line.published[column]:.1f}" if column in line.published else "-"
    return _ours(line.cells[column])


def _ours(cell: Cell) -> str:
    if cell.estimate is None:
        return f'<span class="faint">{escape(cell.why)}</span>'
    return f"<b>{100 * cell.estimate.value:.1f}</b><small>{bounds(cell.estimate)}</small>"


def bounds(found: Estimate) -> str:
    """`81.0 to 84.9, 5 seeds`."""
    seeds = f", {found.num_seeds} seeds" if found.num_seeds > 1 else ""
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}{seeds}"


def title(column: str) -> str:
    """The paper's name of a benchmark; ours as it is."""
    return BENCHMARKS[column].title if column in BENCHMARKS else column
