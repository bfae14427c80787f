"""Every figure of the page that is named is recomputed here from the Parquet artifacts alone, by
code that shares nothing with the report's."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import comb, sqrt
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from markup import Tree, parse

from chainsight import records
from chainsight.records import Example, Prediction, Score
from chainsight.report import StageResult, build, collect
from chainsight.scoring import aggregate

Run = dict[str, StageResult]
Found = dict[str, tuple[float, float]]
"""Value and tolerance by name."""
MODELS, MODES = ("base", "policy", "aligned"), ("direct", "cot")
EXACT = 1e-9
SHARES = ("accuracy", "gain", "difference", "slice", "reasoned-direct")
"""Shown times 100, with one decimal."""


def several_benchmarks(run: Run) -> Run:
    """Two of three questions become another benchmark's."""
    path = run["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    found = list(records.read(path, Example))
    names = {e.id: f"lines/test/{n}" for n, e in enumerate(found) if n % 3}
    rows = [replace(e, id=names[e.id], dataset="lines") if e.id in names else e for e in found]
    records.write(path, rows, Example)
    folders = run["evaluate"].folders
    path = folders["predictions"] / "predictions.parquet"
    said = [
        replace(row, example_id=names.get(row.example_id, row.example_id))
        for row in records.read(path, Prediction)
    ]
    records.write(path, said, Prediction)
    scores = aggregate(said, {row.id: row for row in rows})
    records.write(folders["scores"] / "scores.parquet", scores, Score)
    return run


@pytest.fixture(params=["one benchmark", "two benchmarks"])
def run(request: pytest.FixtureRequest, rerun: Callable[[], Run]) -> Run:
    made = rerun()
    return made if request.param == "one benchmark" else several_benchmarks(made)


def rows(run: Run, kind: str, name: str = "") -> list[dict[str, Any]]:
    (folder,) = (s.folders[kind] for s in run.values() if kind in s.folders)
    found: list[dict[str, Any]] = pq.read_table(
        Path(folder) / f"{name or kind}.parquet"
    ).to_pylist()
    return found


def recomputed(run: Run) -> Found:
    return dict((*sizes(run), *accuracies(run), *gains(run), *outcomes(run), *kinds(run)))


def sizes(run: Run) -> Iterator[tuple[str, tuple[float, float]]]:
    for kind in ("examples", "benchmarks", "rationales", "candidates", "pairs"):
        yield f"num/{kind}", (len(rows(run, kind)), 0)
    yield "num/paired", (len({row["example_id"] for row in rows(run, "pairs")}), 0)
    paid = rows(run, "rationales") + rows(run, "rationales", "rejected")
    yield "cost_usd", (sum(row["cost_usd"] for row in paid), EXACT)


def scores(run: Run) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """By (model, mode), then by benchmark: the score of each question."""
    dataset = {row["id"]: row["dataset"] for row in rows(run, "benchmarks")}
    found: Any = defaultdict(lambda: defaultdict(dict))
    for row in rows(run, "predictions"):
        key = row["example_id"]
        found[row["model"], row["mode"]][dataset[key]][key] = row["score"]
    return dict(found)


def accuracies(run: Run) -> Iterator[tuple[str, tuple[float, float]]]:
    for (model, mode), benchmarks in scores(run).items():
        groups = [list(own.values()) for own in benchmarks.values()]
        value = fmean(map(fmean, groups))
        yield f"accuracy/{model}/{mode}", (value, EXACT)
        errors = [np.std(own, ddof=1) / sqrt(len(own)) for own in groups]
        count = value * (1 - value) / (float(np.linalg.norm(errors)) / len(groups)) ** 2
        z = NormalDist().inv_cdf(0.975)  # the roots of (p - value)^2 = z^2 p (1 - p) / count
        low, high = sorted(
            np.roots([1 + z**2 / count, -2 * value - z**2 / count, value**2]).tolist()
        )
        yield f"accuracy_low/{model}/{mode}", (low, EXACT)
        yield f"accuracy_high/{model}/{mode}", (high, EXACT)


def gains(run: Run) -> Iterator[tuple[str, tuple[float, float]]]:
    known = scores(run)
    for mode in MODES:
        for other in ("base", "policy"):
            ours, theirs = known["aligned", mode], known[other, mode]
            groups = [
                np.array([score - theirs[name][key] for key, score in own.items()])
                for name, own in ours.items()
            ]
            every = np.concatenate(groups)
            name = f"aligned-{other}/{mode}"
            yield f"gain/{name}", (fmean(float(group.mean()) for group in groups), EXACT)
            yield f"won/{name}", (int((every > 0).sum()), 0)
            yield f"lost/{name}", (int((every < 0).sum()), 0)
            yield f"p/{name}", (chance(groups), EXACT)
            random = np.random.default_rng(5)
            means = np.mean(
                [random.choice(g, (20_000, len(g))).mean(axis=1) for g in groups], axis=0
            )
            for end, quantile in (("low", 0.025), ("high", 0.975)):
                yield f"gain_{end}/{name}", (float(np.quantile(means, quantile)), 0.026)


def chance(groups: list[Any]) -> float:
    """Two-sided: of one benchmark McNemar's exact test, of several Agresti and Min's, added."""
    if len(groups) == 1:
        won, lost = int((groups[0] > 0).sum()), int((groups[0] < 0).sum())
        tail = sum(comb(won + lost, k) for k in range(max(won, lost), won + lost + 1))
        return min(1.0, 2 * tail / 2 ** (won + lost))
    padded = [np.append(group, [1 / sqrt(2), -1 / sqrt(2)]) for group in groups]
    mean = fmean(float(group.mean()) for group in padded)
    variance = sum(float(group.var()) / len(group) for group in padded) / len(groups) ** 2
    return 2 * (1 - NormalDist().cdf(abs(mean) / sqrt(variance)))


def outcomes(run: Run) -> Iterator[tuple[str, tuple[float, float]]]:
    paired = {row["example_id"] for row in rows(run, "pairs")}
    right = defaultdict(list)
    for row in rows(run, "candidates"):
        right[row["example_id"]].append(row["score"] == 1)
    shares = {key: fmean(own) for key, own in right.items()}
    found = {
        "paired": sum(key in paired for key in shares),
        "hard": sum(share < 0.25 for share in shares.values()),
        "easy": sum(share > 0.85 for share in shares.values()),
        "unmarked": sum(0.25 <= s <= 0.85 and k not in paired for k, s in shares.items()),
    }
    yield from ((f"outcomes/{name}", (count, 0)) for name, count in found.items() if count)


def kinds(run: Run) -> Iterator[tuple[str, tuple[float, float]]]:
    said = {(r["example_id"], r["model"], r["mode"]): r for r in rows(run, "predictions")}
    found: dict[str, int] = defaultdict(int)
    for key in {key for key, _, _ in said}:
        before, after, direct = (
            said[key, model, mode]["score"] == 1
            for model, mode in (("policy", "cot"), ("aligned", "cot"), ("aligned", "direct"))
        )
        status = said[key, "aligned", "cot"]["status"]
        if before != after:
            name = "won" if after else "lost"
        elif status in ("no_marker", "truncated", "empty"):
            name = "unread"
        else:
            name = "torn" if after != direct else "right" if after else "wrong"
        found[f"samples/{name}"] += 1
    yield from ((name, (count, 0)) for name, count in found.items())


def page(run: Run) -> Tree:
    return parse(build(collect("demo", run)))


def test_every_named_figure_comes_from_the_artifacts(run: Run) -> None:
    found, expected = page(run).figures, recomputed(run)
    families = {name.partition("/")[0] for name in expected}
    assert {name for name in found if name.partition("/")[0] in families} == set(expected)
    assert len(expected) > 40
    for name, (value, tolerance) in expected.items():
        assert found[name][0] == pytest.approx(value, abs=tolerance), name


def test_what_is_shown_is_the_figure_rounded(run: Run) -> None:
    for name, (value, shown) in page(run).figures.items():
        digits = float(shown.replace(",", "").lstrip("p =<$"))
        if name.startswith(SHARES):
            assert digits == pytest.approx(100 * value, abs=0.0500001), name
        elif name.startswith("p/"):
            assert value < 0.001 if "<" in shown else digits == pytest.approx(value, abs=0.00051)
        else:
            assert digits == pytest.approx(value, abs=0.00501), name


def test_each_says_which_file_and_column_it_is_of(run: Run) -> None:
    for attributes in page(run).of("data"):
        assert ".parquet" in str(attributes["title"])


def test_a_changed_artifact_changes_the_figure(rerun: Callable[[], Run]) -> None:
    run = rerun()
    before = page(run).figures["gain/aligned-base/cot"][0]
    folder = run["evaluate"].folders["predictions"]
    said = records.read(folder / "predictions.parquet", Prediction)
    worse = [replace(row, score=0.0) if row.model == "aligned" else row for row in said]
    records.write(folder / "predictions.parquet", worse, Prediction)
    assert page(run).figures["gain/aligned-base/cot"][0] < 0 < before
