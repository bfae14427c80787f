"""The page of `chainsight verify`: what choosing among many answers is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from chainsight import stored
from chainsight.analysis.calibration import calibrations
from chainsight.analysis.credit import Credit
from chainsight.analysis.curves import Point
from chainsight.analysis.voting import METHODS, Method, Question
from chainsight.config import VerifySection
from chainsight.report import calibration, credit, heatmap
from chainsight.webpage import document, table, tiles

ABOUT: dict[Method, str] = {
    "greedy": "the one answer without chance",
    "single": "a sample, unseen: the mean of all",
    "majority": "the answer that most samples give (self-consistency)",
    "weighted": "a sample counts exp(beta x reward), its odds in DPO's model of preferences",
    "weighted_ratio": "a sample counts aligned / policy",
    "weighted_sum": "a sample counts its reward, which may be negative",
    "best": "the highest reward, log(aligned / policy) of the whole answer",
    "best_normalised": "the highest mean reward per token",
    "best_truncated": "the highest reward of the first words, which DPO has learned from",
    "random": "any sample that has an answer",
    "longest": "the sample of most tokens",
    "shortest": "the sample of fewest tokens",
    "likeliest": "the sample that the aligned model finds most likely, whatever the policy thinks",
    "oracle": "a right sample wherever there is one: no verifier can do better",
}
CONTROLS: tuple[Method, ...] = ("random", "longest", "shortest", "likeliest")


@dataclass(frozen=True)
class Verification:
    """What a verification found."""

    name: str
    """The run's."""
    version: str
    """The registered version, `models:/NAME/3`; "": the run's own model."""
    artifacts: Mapping[str, str]
    """Store URIs of what was compared, and of the answers, by kind."""
    questions: Mapping[str, Sequence[Question]]
    """By benchmark."""
    curves: Mapping[str, Sequence[Point]]
    """Over all benchmarks (`all`), and for each where there are several."""
    credit: Credit | None
    """How often rewards find the first wrong step, where it is known."""
    settings: VerifySection
    benchmarks: Path
    """Folder of the questions with their images."""
    seconds: float
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def num_questions(self) -> int:
        return sum(map(len, self.questions.values()))


def to_json(found: Verification) -> dict[str, Any]:
    """Every figure of the page, for machines."""
    return {
        "name": found.name,
        "version": found.version or None,
        "artifacts": dict(found.artifacts),
        "num_questions": found.num_questions,
        "num_candidates": found.settings.num_candidates,
        "settings": found.settings.model_dump(mode="json"),
        "seconds": found.seconds,
        "credit": credit.to_json(found.credit) if found.credit else None,
        "curves": {name: [asdict(one) for one in points] for name, points in found.curves.items()},
    }


def build(found: Verification) -> str:
    """One self-contained HTML page: no script, no resource from elsewhere."""
    sections = (
        _header(found),
        _tiles(found),
        *(_part(name, points) for name, points in found.curves.items()),
        calibration.section(calibrations([one for own in found.questions.values() for one in own])),
        credit.section(found.credit),
        _rewards(found),
        _how(found),
    )
    return document(
        f"Chainsight: {found.name}, verification", sections, calibration.STYLE + heatmap.STYLE
    )


def _rewards(found: Verification) -> str:
    examples = {one.id: one for one in stored.examples(found.benchmarks / "benchmarks.parquet")}
    answers = [one for own in found.questions.values() for question in own for one in question]
    return heatmap.section(examples, answers, found.credit.known if found.credit else None)


def _header(found: Verification) -> str:
    who = found.version or "the run's own model"
    last = {point.method: point for point in found.curves["all"]}
    best = last["best"]
    kind = "good" if best.low > 0 else "bad" if best.high < 0 else ""
    return (
        f"<h1>{escape(found.name)}: verification</h1>"
        f'<p class="faint">{escape(who)}, judged by log(aligned / policy); '
        f"{found.created:%Y-%m-%d %H:%M} UTC</p>"
        f'<div class="banner {kind}"><b>{_verdict(best)}</b><br>Best of {best.n} by reward '
        f"against the greedy answer of the model {found.settings.drawn_by}: {gain(best)} points "
        "(95 % interval). "
        f"{_controls(last)}</div>"
    )


def _verdict(best: Point) -> str:
    if best.low > 0:
        return "The reward picks better answers than greedy decoding."
    if best.high < 0:
        return "The reward picks worse answers than greedy decoding."
    return "Whether the reward picks better answers than greedy decoding is open."


def _controls(last: Mapping[Method, Point]) -> str:
    """What needs no reward, in one sentence."""
    told = ", ".join(f"{method} {100 * last[method].gain:+.1f}" for method in CONTROLS)
    return f"Controls, chosen without it: {told}; by a majority {100 * last['majority'].gain:+.1f}."


def gain(point: Point) -> str:
    """The gain over greedy with its interval, in points."""
    return f"{100 * point.gain:+.1f} ({100 * point.low:+.1f} to {100 * point.high:+.1f})"


def _tiles(found: Verification) -> str:
    last = {point.method: point for point in found.curves["all"]}
    shown = {"greedy": "greedy", "best": f"best of {last['best'].n}, by reward",
             "weighted": "weighted voting", "majority": "majority voting",
             "oracle": "with a right sample"}  # fmt: skip
    figures = [(f"{100 * last[method].value:.1f} %", what) for method, what in shown.items()]  # type: ignore[index]
    return tiles([*figures, (f"{found.num_questions:,}", "questions")])


def _part(name: str, points: Sequence[Point]) -> str:
    """Picture and table over some questions."""
    from chainsight.report import voting

    title = "All benchmarks" if name == "all" else escape(name)
    return (
        f'<h2>{title}</h2><figure class="wide">{voting.picture(points, f"voting-{name}")}</figure>'
        '<p class="faint">Bands are 95 % intervals of the gain over the greedy answer, paired by '
        "question and laid over the greedy accuracy: where a band is clear of the dashed line, "
        f"the gain is clear of zero.</p>{_table(points)}"
    )


def _table(points: Sequence[Point]) -> str:
    ns = list(dict.fromkeys(point.n for point in points))
    by_place = {(point.method, point.n): point for point in points}
    rows = []
    for method in METHODS:
        own = [by_place[method, n] for n in ns]
        cells = [f"{100 * point.value:.1f}" for point in own]
        last = "" if method == "greedy" else gain(own[-1])
        about = f'{method}<br><span class="faint">{ABOUT[method]}</span>'
        rows.append([about, *cells, last])
    head = ["method", *(f"n&nbsp;=&nbsp;{n}, %" for n in ns)]
    head.append(f"gain over greedy at {ns[-1]}, points (95 % interval)")
    return table(head, rows, range(1, len(head)))


def _how(found: Verification) -> str:
    section = found.settings
    uris = table(
        ["artifact", "where"],
        [[escape(kind), escape(uri)] for kind, uri in sorted(found.artifacts.items())],
    )
    return (
        f"<h2>How it was made</h2><p>Greedy answers and {section.num_candidates} samples a "
        f"question by the model {section.drawn_by}, at temperature "
        f"{section.temperature:g}, top-p {section.top_p:g}, at most {section.max_new_tokens} "
        "tokens. Accuracy at n is the mean over all subsets of n samples: exact for every choice "
        "by a score, over 32 drawn subsets for votes. Ties are split evenly. Answers vote by "
        "option, value or words; a sample without an answer neither votes nor is chosen while "
        f"there is another. The truncated reward sees the first {section.max_words} words. "
        f"Drawing and judging took {found.seconds:.0f} s.</p>{uris}"
    )
