"""What a claim is judged by: scores question by question, of one setting with each of its seeds."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from chainsight import records
from chainsight.ablation.execute import State
from chainsight.ablation.plan import Row
from chainsight.analysis import claims, curves, voting
from chainsight.config import VerifySection
from chainsight.config.ablate import ClaimSection, Side
from chainsight.decision import dataset_of
from chainsight.records import Prediction, Verified
from chainsight.scoring import ALL

Scores = dict[str, float]
"""Score by example id."""


class Evidence:
    """Predictions and judged answers of a plan's finished rows, each read once."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._predicted: dict[str, dict[str, Scores]] = {}
        self._verified: dict[str, curves.Groups] = {}

    def series(self, side: Side, mode: str, dataset: str) -> claims.Series:
        """Scores of a side by seed, as far as its rows are finished."""
        rows = [row for row in self._state.plan.rows if row.name == side.setting]
        step = "verify" if side.method else "score"
        done = [row for row in rows if row.steps.get(step) in self._state.done]
        found = {row.seed: self._scores(row, side, mode) for row in done}
        return {seed: _of(scores, dataset) for seed, scores in found.items()}

    def _scores(self, row: Row, side: Side, mode: str) -> Scores:
        if side.method is None:
            return self.predicted(row).get(side.mode or mode, {})
        method = cast(voting.Method, side.method)  # `plan` has checked it
        questions = [one for own in self.verified(row).values() for one in own]
        return {
            one[0].example_id: self._chosen(method, one, side.n, self.scale(row))
            for one in questions
        }

    @staticmethod
    def _chosen(
        method: voting.Method, question: voting.Question, n: int | None, scale: voting.Scale
    ) -> float:
        """The expected score of a method with `n` answers, over all subsets of so many."""
        (value,) = voting.values(method, question, [n or len(voting.samples(question))], scale)
        return value

    def scale(self, row: Row) -> voting.Scale:
        """How a row's rewards are read."""
        section = self._state.plan.nodes[row.steps["verify"]].config
        assert isinstance(section, VerifySection)
        return voting.Scale(section.beta, section.max_words)

    def predicted(self, row: Row) -> dict[str, Scores]:
        """Scores of a row's greedy answers, by mode."""
        node = row.steps["score"]
        if node not in self._predicted:
            found: dict[str, Scores] = {}
            folder = self._folder(node, "predictions")
            for one in records.read(folder / "predictions.parquet", Prediction):
                found.setdefault(one.mode, {})[one.example_id] = one.score
            self._predicted[node] = found
        return self._predicted[node]

    def verified(self, row: Row) -> curves.Groups:
        """A row's judged answers, question by question, by dataset."""
        node = row.steps["verify"]
        if node not in self._verified:
            rows = records.read(self._folder(node, "verified") / "verified.parquet", Verified)
            self._verified[node] = curves.grouped(rows)
        return self._verified[node]

    def _folder(self, node: str, kind: str) -> Any:
        return self._state.store.fetch(self._state.done[node].outputs[kind])


def _of(scores: Scores, dataset: str) -> Scores:
    if dataset == ALL:
        return scores
    return {key: score for key, score in scores.items() if dataset_of(key) == dataset}


def verdict(claim: ClaimSection, evidence: Evidence) -> dict[str, Any]:
    """A claim and what became of it; open, with the reason, where there is nothing to judge by."""
    told = {"name": claim.name, "relation": claim.relation, "mode": claim.mode}
    told |= {"dataset": claim.dataset}
    told |= {side: getattr(claim, side).model_dump() for side in ("better", "than")}
    try:
        better, than = (evidence.series(s, claim.mode, claim.dataset) for s in _sides(claim))
        for side, series in zip(_sides(claim), (better, than), strict=True):
            if not series:
                raise ValueError(f"{title(side)} has no result yet")
        if claim.better.method or claim.than.method:
            better, than = _common(better, than)
        return told | compare(claim.name, title(claim.better), title(claim.than),
                              better, than, claim.relation)  # fmt: skip
    except ValueError as error:
        unknown: dict[str, Any] = {
            "difference": None,
            "low": None,
            "high": None,
            "seeds": [],
            "per_seed": [],
        }
        return told | unknown | {"reproduced": "open", "words": f"Not judged: {error}"}


def _sides(claim: ClaimSection) -> tuple[Side, Side]:
    return claim.better, claim.than


def compare(
    name: str,
    better_name: str,
    than_name: str,
    better: claims.Series,
    than: claims.Series,
    relation: claims.Relation = "above",
) -> dict[str, Any]:
    """The verdict on one difference, as it is written. Raises ValueError as `claims.judge`."""
    return asdict(claims.judge(claims.Claim(name, better_name, than_name, relation), better, than))


def _common(better: claims.Series, than: claims.Series) -> tuple[claims.Series, claims.Series]:
    """The questions that every seed of both sides has: a verification may stop at `limit`."""
    every: Sequence[Any] = [*better.values(), *than.values()]
    shared = set.intersection(*map(set, every)) if every else set()

    def cut(series: claims.Series) -> claims.Series:
        return {seed: {k: v for k, v in s.items() if k in shared} for seed, s in series.items()}

    return cut(better), cut(than)


def title(side: Side) -> str:
    """What a side is called: `both + DPO (weighted of 8)`."""
    words: list[str] = [side.mode] if side.mode else []
    if side.method:
        words.append(side.method + (f" of {side.n}" if side.n else ""))
    return f"{side.setting} ({', '.join(words)})" if words else side.setting
