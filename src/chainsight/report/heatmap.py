"""Answers as heat maps: each token in the colour of its reward, log(aligned / policy).

Vermilion for tokens that have become less likely, blue for those that have become more so (two
colours that all readers tell apart), over the page's own ground in light and dark. The first
strongly negative token is boxed and named in words, and a known first wrong word is underlined:
no fact hangs on a colour.
"""

from collections.abc import Iterable, Mapping, Sequence

from chainsight.analysis import steps
from chainsight.analysis.credit import Known
from chainsight.analysis.steps import Token
from chainsight.demo.steps import Slip
from chainsight.metrics import is_right
from chainsight.records import Example, Verified
from chainsight.report import parts
from chainsight.report.choice import spread
from chainsight.report.pictures import picture
from chainsight.webpage import text

NUM_SAMPLES = 12
"""Questions shown: half for their strongest negative reward, half from all over."""
SHADES = (0.05, 0.2, 0.5, 1.0)
"""Least nats of each shade, the same on every page, so that pages compare."""

STYLE = """
.heat { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.9; margin: 4px 0; }
.heat span { border-radius: 3px; padding: 1px 0; }
.heat .n1 { background: rgba(213, 94, 0, .12); } .heat .n2 { background: rgba(213, 94, 0, .25); }
.heat .n3 { background: rgba(213, 94, 0, .4); } .heat .n4 { background: rgba(213, 94, 0, .55); }
.heat .p1 { background: rgba(0, 114, 178, .12); } .heat .p2 { background: rgba(0, 114, 178, .25); }
.heat .p3 { background: rgba(0, 114, 178, .4); } .heat .p4 { background: rgba(0, 114, 178, .55); }
.heat .first { outline: 2px solid currentColor; }
.heat .slip { text-decoration: underline wavy 1.5px; text-underline-offset: 5px; }
"""


def section(
    examples: Mapping[str, Example], answers: Iterable[Verified], known: Known | None = None
) -> str:
    """HTML of some questions: a wrong answer, and beside it a right one where there is one."""
    slips = {
        (case.answer.example_id, case.answer.index): case.slip
        for case in (known.cases if known else ())
    }
    cards = [
        _card(examples[wrong.example_id], (wrong, *right), slips)
        for wrong, *right in choose(answers)
    ]
    if not cards:
        return ""
    return (
        "<section><h2>Rewards, token by token</h2>\n"
        "<p>What alignment has made less likely and more likely, in wrong answers and in right "
        "ones to the same question. Half of the questions are those with the most negative "
        "tokens, half are drawn from all that have a wrong answer.</p>\n"
        f"{legend(slips=bool(slips))}\n{''.join(cards)}</section>"
    )


def legend(*, slips: bool) -> str:
    """What colours and marks mean."""
    less, more = (
        " ".join(f'<span class="{sign}{at}"> {way}{least:g} </span>' for at, least in order)
        for sign, way, order in (
            ("n", "\N{MINUS SIGN}", [*enumerate(SHADES, 1)][::-1]),
            ("p", "+", [*enumerate(SHADES, 1)]),
        )
    )
    known = ' <span class="slip">known first wrong word</span>' if slips else ""
    return (
        f'<p class="heat">nats and more: {less} less likely | more likely {more}<br>'
        f'<span class="first">first strongly negative</span>{known} '
        "(\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS} line break, \N{END OF PROOF} end)</p>"
    )


def choose(answers: Iterable[Verified]) -> list[list[Verified]]:
    """A wrong answer of each question to show, and a right one where there is one."""
    questions: dict[str, list[Verified]] = {}
    for one in answers:
        questions.setdefault(one.example_id, []).append(one)
    pairs = [pair for own in questions.values() if (pair := _contrast(own))]
    worst = sorted(pairs, key=lambda pair: min(pair[0].rewards))[: NUM_SAMPLES // 2]
    others = [pair for pair in pairs if pair not in worst]
    return [*worst, *spread(others, NUM_SAMPLES - len(worst))]


def _contrast(answers: Sequence[Verified]) -> list[Verified]:
    """The wrong answer with the most negative token, and the first right one."""
    wrong = [one for one in answers if not is_right(one.score) and one.rewards]
    right = [one for one in answers if is_right(one.score)]
    return [min(wrong, key=lambda one: min(one.rewards)), *right[:1]] if wrong else []


def _card(
    example: Example, answers: Sequence[Verified], slips: Mapping[tuple[str, int], Slip]
) -> str:
    shown = [one for image in example.images if (one := picture(image))]
    voices = "".join(answer(one, slips.get((one.example_id, one.index))) for one in answers)
    return (
        f'<div class="card"><div>{parts.images(shown, example.id)}</div><div>'
        f'<p class="faint">{text(example.id)}</p>'
        f"{parts.question(example.question, example.choices or ())}"
        f"{parts.references(example.references)}{voices}</div></div>\n"
    )


def answer(one: Verified, slip: Slip | None = None) -> str:
    """An answer's text, coloured, with its verdict and what stands out in words."""
    chain = steps.tokens(one)
    first = next(iter(steps.first_strong(chain)), None)
    who = "greedy answer" if one.index < 0 else f"sample {one.index}"
    total = one.logprob_aligned - one.logprob_policy
    return (
        f'<div class="said"><b>{who}</b> {parts.verdict(is_right(one.score))} '
        f'<span class="faint">answer {text(one.answer) or "none"}, reward {total:+.2f} nats'
        f'</span>\n<div class="heat">{_text(one, chain, first, slip)}</div>'
        f"<p>{_words(one, first, slip)}</p></div>"
    )


def _text(one: Verified, chain: Sequence[Token], first: Token | None, slip: Slip | None) -> str:
    spans = []
    for piece, token in zip(one.pieces, chain, strict=True):
        marks = [shade(token.reward)]
        marks += ["first"] if token is first else []
        marks += ["slip"] if slip and steps.inside(token, slip.word) else []
        spans.append(_span(piece, token.reward, " ".join(filter(None, marks))))
    return "".join(spans)


def _span(piece: str, reward: float, marks: str) -> str:
    """A piece of text; what has no colour and no mark needs no element."""
    if not marks:
        return text(piece)
    return f'<span class="{marks}" title="{reward:+.2f} nats">{text(_visible(piece))}</span>'


def _visible(piece: str) -> str:
    """A coloured token can be seen even if it is a line break or the end."""
    return (
        piece.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n", 1) or "\N{END OF PROOF}"
    )


def shade(reward: float) -> str:
    """The class of a reward's colour; "": too near to zero."""
    strength = sum(abs(reward) >= least for least in SHADES)
    return f"{'n' if reward < 0 else 'p'}{strength}" if strength else ""


def _words(one: Verified, first: Token | None, slip: Slip | None) -> str:
    """What the marks say, for those who do not see them."""
    said = "No strongly negative token."
    if first:
        said = f"First strongly negative: {_quoted(one, first.span)}, {first.reward:+.2f} nats."
    if slip:
        said += f" Known first wrong word: {_quoted(one, slip.word)} ({text(slip.fault)})."
    return said


def _quoted(one: Verified, span: steps.Span) -> str:
    """A word in its place."""
    before = one.text[max(0, span[0] - 20) : max(0, span[0])].split("\n")[-1].rstrip()
    word = _visible(one.text[max(0, span[0]) : span[1]]).strip()
    return f"“…{text(before)} <b>{text(word)}</b>”"
