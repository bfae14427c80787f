"""`ablation.html`: the claims and their verdicts, the settings side by side, how they were made."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from chainsight.ablation import table
from chainsight.ablation.dots import dots
from chainsight.ablation.show import percent, points
from chainsight.console import MODE_TITLES
from chainsight.report.parts import duration
from chainsight.scoring import ALL
from chainsight.webpage import document, tiles
from chainsight.webpage import table as html_table

Found = Mapping[str, Any]
VERDICTS = {"yes": ("good", "reproduced"), "no": ("bad", "not reproduced"), "open": ("", "open")}


def build(found: Found) -> str:
    """The page of what `results.collect` found."""
    sections = [_head(found), _claims(found), *_scores(found), _voting(found), _made(found)]
    return document(f"{found['name']}: ablation", sections)


def _head(found: Found) -> str:
    finished = sum(len(setting["seeds"]) for setting in found["settings"])
    wanted = len(found["settings"]) * len(found["seeds"])
    outcomes = [claim["reproduced"] for claim in found["claims"]]
    figures = [
        (str(len(found["settings"])), "settings"),
        (str(len(found["seeds"])), "seeds each"),
        (f"{finished} of {wanted}", "finished"),
    ]
    if outcomes:
        figures.append((f"{outcomes.count('yes')} of {len(outcomes)}", "claims reproduced"))
    partial = (
        f'<div class="banner bad">{wanted - finished} of {wanted} results are missing: what '
        "follows is of the others.</div>"
        if finished < wanted
        else ""
    )
    return f"<h1>{escape(found['name'])}</h1>{partial}{tiles(figures)}"


def _claims(found: Found) -> str:
    if not found["claims"]:
        return ""
    rows = []
    for claim in found["claims"]:
        mark, outcome = VERDICTS[claim["reproduced"]]
        where = MODE_TITLES[claim["mode"]] + (
            "" if claim["dataset"] == ALL else f", {claim['dataset']}"
        )
        rows.append(
            [
                f"{escape(claim['name'])}<br><span class=faint>{escape(where)}</span>",
                f'<b class="{mark}">{outcome}</b>',
                "-" if claim["difference"] is None else points(claim),
                escape(claim["words"]),
            ]
        )
    head = ("claim", "verdict", "points (95 % interval)", "why")
    return (
        "<h2>Claims</h2><p class=faint>Differences are paired by seed and question; the interval "
        "is over both. A claim is reproduced, or not, where the whole interval says so, and open "
        f"else.</p>{html_table(head, rows)}"
    )


def _scores(found: Found) -> Iterator[str]:
    modes = table.modes(found)
    titles = {mode: MODE_TITLES[mode] for mode in modes}
    for dataset in table.datasets(found):
        name = "All datasets (plain mean)" if dataset == ALL else dataset
        cells = [
            (s["name"], {mode: table.cell(s, mode, dataset) for mode in modes})
            for s in found["settings"]
        ]
        picture = dots(cells, titles, f"accuracy of the settings, {name}")
        yield (
            f'<h2>{escape(name)}</h2><figure class="wide">{picture}</figure>'
            f"{_table(found, dataset)}"
            "<p class=faint>Accuracy in percent: mean and standard deviation over seeds. Beside it "
            f"the points above or below {escape(found['baseline'])}, with the 95 % interval over "
            "seeds and questions.</p>"
        )


def _table(found: Found, dataset: str) -> str:
    modes = table.modes(found)
    head = ["setting"]
    for mode in modes:
        head += [f"{MODE_TITLES[mode]}, %", f"against {escape(found['baseline'])}"]
    rows = []
    for setting in found["settings"]:
        row = [escape(setting["name"])]
        for mode in modes:
            difference = table.against(setting, mode, dataset)
            row += [percent(table.cell(setting, mode, dataset)), _coloured(difference)]
        rows.append([*row, str(len(setting["seeds"]))])
    return html_table([*head, "seeds"], rows, numbers=range(1, len(head) + 1))


def _coloured(difference: Mapping[str, Any] | None) -> str:
    """Green or red where the interval is clear of zero."""
    mark = ""
    if difference and difference["low"] > 0:
        mark = "good"
    elif difference and difference["high"] < 0:
        mark = "bad"
    return f'<span class="{mark}">{points(difference)}</span>'


def _voting(found: Found) -> str:
    """Accuracy by method and number of answers, a table for each verified setting."""
    parts = []
    for setting in found["settings"]:
        seeds = {seed: one["voting"] for seed, one in setting["seeds"].items() if one["voting"]}
        if not seeds:
            continue
        first = next(iter(seeds.values()))
        sizes = list(next(iter(first.values())))
        rows = [
            [method] + [percent(table.Cell({s: v[method][n] for s, v in seeds.items()}))
                        for n in sizes]
            for method in first
        ]  # fmt: skip
        head = ["method", *(f"{n} answer{'s' if n != '1' else ''}, %" for n in sizes)]
        parts.append(
            f"<h3>{escape(setting['name'])}</h3>{html_table(head, rows, range(1, len(head)))}"
        )
    if not parts:
        return ""
    return (
        "<h2>One answer chosen from many</h2><p class=faint>Reasoned answers to benchmark "
        "questions, drawn from the aligned model (or as verify.drawn_by says) and judged by "
        "log(aligned / policy): mean and standard deviation over seeds. Single is "
        "the mean of the answers, best takes the highest reward, random is a control, and oracle "
        f"knows the right answer.</p>{''.join(parts)}"
    )


def _made(found: Found) -> str:
    rows = []
    for setting in found["settings"]:
        changes = setting["set"] | {f"then {k}": v for k, v in setting["then"].items()}
        said = "<br>".join(escape(f"{k}: {json.dumps(v)}") for k, v in changes.items())
        recipe = setting["recipe"] + (f", {n} rounds" if (n := setting["rounds"]) > 1 else "")
        seconds = sum(one["seconds"] for one in setting["seeds"].values())
        rows.append([escape(setting["name"]), recipe, said or "-", duration(seconds)])
    same = (
        f"All were asked the same questions in the same words (fingerprint "
        f"<code>{found['fingerprint'][:12]}</code>)."
        if found["fingerprint"]
        else "The settings were not all asked the same questions in the same words."
    )
    return (
        "<h2>How they were made</h2>"
        + html_table(("setting", "recipe", "changes", "time, with what is shared"), rows, (3,))
        + f"<p class=faint>{same} Seeds {', '.join(map(str, found['seeds']))}. Code version "
        f"<code>{escape(found['code_version'])}</code>.</p>"
    )
