"""The sample browser: questions with what each model said. Without the script all stand there."""

from collections.abc import Iterable
from urllib.parse import quote

from chainsight.metrics import is_right
from chainsight.report import parts
from chainsight.report.parts import MODE_WORDS
from chainsight.report.samples import KINDS, Sample, Samples, Sheet, Voice, count_kinds
from chainsight.webpage import table, text, traced

STYLE = """
.filters { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr));
  gap: 8px 12px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; }
.filters label { font-size: 13px; color: var(--faint); }
.filters input, .filters select { display: block; width: 100%; margin-top: 2px; }
input, select, button { font: inherit; font-size: 14px; color: var(--text); padding: 5px 8px;
  background: var(--back); border: 1px solid var(--faint); border-radius: 6px; }
button { cursor: pointer; } button:disabled { opacity: 0.55; cursor: default; }
.pager { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 10px 0;
  position: sticky; top: 0; z-index: 2; background: var(--back); padding: 6px 0; }
.pager p { margin: 0 auto 0 0; }
.sheet { border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 12px 0;
  background: var(--card); display: grid; grid-template-columns: minmax(150px, 250px)
  minmax(0, 1fr); gap: 18px; }
.sheet > div:first-child { position: sticky; top: 56px; align-self: start; }
.sheet img { width: 100%; height: auto; border-radius: 4px; background: #fff; display: block;
  margin-bottom: 8px; } .sample { scroll-margin-top: 60px; overflow-wrap: anywhere; }
.sample + .sample { border-top: 1px solid var(--line); margin-top: 14px; padding-top: 14px; }
.sample h3 { font-size: 13px; font-weight: 400; } .sample h3 a { color: inherit; }
.sample:focus { outline: 3px solid var(--link); outline-offset: 6px; border-radius: 3px; }
.kind { border: 1px solid var(--line); border-radius: 9px; padding: 0 8px; font-size: 12px; }
.sample table { table-layout: fixed; font-size: 14px; } .sample .who { width: 84px; }
.sample .direct { width: 27%; }
.references { margin: 4px 0; } .how { color: var(--faint); font-size: 13px; }
@media (max-width: 640px) { .sheet { grid-template-columns: minmax(0, 1fr); }
  .sheet > div:first-child { position: static; max-width: 260px; } .pager { position: static; } }
"""


def section(samples: Samples | None) -> str:
    """The section, "" where no model was asked."""
    if samples is None or not samples.shown:
        return ""
    return (
        "<h2>Samples</h2>"
        f"{_chosen(samples)}{_filters(samples)}"
        '<div class="pager" id="pager" hidden><p id="count" role="status" aria-live="polite"></p>'
        '<button type="reset" form="filters">Clear filters</button>'
        '<button type="button" id="previous">Previous 10</button>'
        '<button type="button" id="next">Next 10</button></div>'
        f'<div id="samples-list">{"".join(_sheet(sheet) for sheet in samples.sheets)}</div>'
    )


def _chosen(samples: Samples) -> str:
    """How many there are, and how these were chosen."""
    shown, every = len(samples.shown), samples.num_all
    before, after = samples.ends
    counts = count_kinds(samples)
    rows = [
        [
            f"<b>{kind}</b>: {KINDS[kind]}",
            traced(f"samples/{kind}", number, f"{number:,}", _source(kind, before, after)),
            f"{own:,}",
        ]
        for kind, (number, own) in counts.items()
    ]
    how = "all of them"
    if shown < every:
        how = "of each kind and benchmark as many, as far as there are, from all over the file"
    return (
        f"<p>{shown:,} of {every:,} held-out questions: {how}. Kinds go by {text(after)}'s "
        f"reasoned answers, against {text(before)}'s.</p>"
        "<details><summary>How many of each kind</summary>"
        f"{table(['kind', 'questions', 'shown'], rows, (1, 2), 'Questions by kind')}</details>"
    )


def _source(kind: str, before: str, after: str) -> str:
    return (
        f"predictions.parquet: questions of kind {kind} by columns model ({before}, {after}), "
        "mode, score and status"
    )


def _filters(samples: Samples) -> str:
    models = list(dict.fromkeys(model for model, _ in samples.voices))
    modes = list(dict.fromkeys(mode for _, mode in samples.voices))
    voices = [(f"{model}/{mode}", f"{model}, {MODE_WORDS[mode]}") for model, mode in samples.voices]
    statuses = sorted({voice.status for sample in samples.shown for voice in sample.voices})
    kinds = [(kind, f"{kind}: {KINDS[kind]}") for kind in count_kinds(samples)]
    before, after = (f"{model}/{modes[-1]}" for model in samples.ends)
    fields = (
        SEARCH,
        _select("dataset", "Dataset", _same(sorted({s.dataset for s in samples.shown}))),
        _select("kind", "Kind", kinds),
        _select("model", "Model", _same(models)),
        _select("mode", "Mode", [(mode, MODE_WORDS[mode]) for mode in modes]),
        _select("verdict", "Verdict", [("1", "right"), ("0", "wrong")]),
        _select("status", "Answer status", [(s, s.replace("_", " ")) for s in statuses]),
        _select("from", "Flips from", voices, before),
        _select("to", "Flips to", voices, after),
        _select("flip", "Flip", FLIPS),
    )
    return (
        '<form class="filters" id="filters" role="search" aria-label="Filter samples" hidden>'
        f'{"".join(fields)}</form><p class="how" id="keys" hidden>Model, mode, verdict and status '
        "are about one answer. In the list, keys n and p go to the next and the previous sample."
        "</p>"
    )


SEARCH = (
    '<label>Text<input type="search" name="text" autocomplete="off" '
    'placeholder="question, answer, id"></label>'
)
FLIPS = [("won", "won: wrong, then right"), ("lost", "lost: right, then wrong"),
         ("flipped", "won or lost"), ("same", "the same verdict")]  # fmt: skip


def _same(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


def _select(
    name: str, label: str, options: Iterable[tuple[str, str]], chosen: str | None = None
) -> str:
    """A labelled choice; without `chosen` the first option is any."""
    tags = "".join(
        f'<option value="{text(value)}"{" selected" if value == chosen else ""}>{text(shown)}'
        "</option>"
        for value, shown in options
    )
    anything = "" if chosen else '<option value="">any</option>'
    return f'<label>{label}<select name="{name}">{anything}{tags}</select></label>'


def _sheet(sheet: Sheet) -> str:
    first = sheet.samples[0]
    return (
        f'<div class="sheet"><div>{parts.images(sheet.pictures, first.example_id)}</div>'
        f"<div>{''.join(_sample(sample) for sample in sheet.samples)}</div></div>"
    )


def anchor(example_id: str) -> str:
    """The id of a question's sample, for links: `<a href="#q/bars/test/3">`."""
    return f"q/{quote(example_id)}"


def _sample(sample: Sample) -> str:
    name = anchor(sample.example_id)
    return (
        f'<article class="sample" id="{name}" tabindex="-1" data-dataset="{text(sample.dataset)}" '
        f'data-kind="{sample.kind}" aria-label="{text(sample.example_id)}">'
        f'<h3><a href="#{name}">{text(sample.example_id)}</a> '
        f'<span class="kind" title="{KINDS[sample.kind]}">{sample.kind}</span></h3>'
        f"{parts.question(sample.question, sample.choices)}{parts.references(sample.references)}"
        f"{_voices(sample)}</article>"
    )


def _voices(sample: Sample) -> str:
    """Models down, modes across."""
    said = {(voice.model, voice.mode): voice for voice in sample.voices}
    models = list(dict.fromkeys(model for model, _ in said))
    modes = [mode for mode in MODE_WORDS if any(mode == known for _, known in said)]
    head = "".join(f'<th scope="col" class="{mode}">{MODE_WORDS[mode]}</th>' for mode in modes)
    rows = "".join(
        f'<tr><th scope="row">{text(model)}</th>'
        + "".join(_voice(said.get((model, mode))) for mode in modes)
        + "</tr>"
        for model in models
    )
    top = f'<tr><td class="who"></td>{head}</tr>'
    return f"<table><thead>{top}</thead><tbody>{rows}</tbody></table>"


def _voice(voice: Voice | None) -> str:
    if voice is None:
        return "<td>-</td>"
    right = is_right(voice.score)
    return (
        f'<td data-model="{text(voice.model)}" data-mode="{voice.mode}" '
        f'data-right="{int(right)}" data-status="{text(voice.status)}">'
        f"{parts.verdict(right, voice.score)} {_answer(voice)}{_text(voice)}</td>"
    )


def _answer(voice: Voice) -> str:
    status = "" if voice.status in {"marker", "plain"} else voice.status.replace("_", " ")
    shown = f'<b dir="auto">{text(voice.answer)}</b>' if voice.answer else ""
    return f'{shown} <span class="how">{text(status)}</span>'


def _text(voice: Voice) -> str:
    """What was said, unless it is the answer and nothing more."""
    if voice.text.strip() == voice.answer:
        return ""
    rest = f"… ({voice.num_cut:,} more characters)" if voice.num_cut else ""
    return f'<div class="text" dir="auto">{text(voice.text) or "(empty)"}{rest}</div>'
