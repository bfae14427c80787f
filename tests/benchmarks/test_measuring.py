"""Turns, medians, goals and differences, on contenders that do nothing."""

import json

import torch

from benchmarks import results
from benchmarks.measuring import Case, Clock, Contender, Result, Took, measure, relative


def case(*contenders: Contender, **given) -> Case:
    facts = {"models": (), "apart": lambda a, b: abs(a - b), "bound": 0.1, "title": "a title"}
    return Case(**{"name": "a case", "contenders": contenders, **facts, **given})


def result(ours: list[float], theirs: list[float], **given) -> Result:
    return Result(case(**given), {"ours": Took(ours), "TRL": Took(theirs)}, given.get("where", ""))


class Steps(Clock):
    """A clock that goes on by one at each look."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.now = 0.0

    def mark(self) -> float:
        self.now += 1
        return self.now


def test_contenders_run_by_turns_after_a_first_run_of_each():
    order: list[str] = []

    def runs(name: str) -> Contender:
        return Contender(name, lambda: order.append(name) or 1.0, lambda: order.append("ready"))

    measure(case(runs("ours"), runs("TRL")), Steps(), 2, lambda _: None)
    assert order == ["ready", "ours", "ready", "TRL"] * 3


def test_a_contender_of_one_round_runs_once_more_only():
    found = measure(
        case(
            Contender("ours", lambda: 1.0), Contender("TRL", lambda: 1.0), once=frozenset({"TRL"})
        ),
        Steps(),
        3,
        lambda _: None,
    )
    assert [len(one.seconds) for one in found.took.values()] == [3, 1]


def test_the_ratio_is_of_the_medians_with_the_rounds_lowest_and_highest():
    assert result([1, 1, 2], [3, 2, 8]).ratio("TRL") == (3.0, 2.0, 4.0)


def test_sides_that_do_not_find_the_same_fail():
    found = measure(
        case(Contender("ours", lambda: 1.0), Contender("TRL", lambda: 1.2)),
        Steps(),
        1,
        lambda _: None,
    )
    assert not found.agrees
    assert any(line.startswith("FAILED: a case") for line in results.verdicts([found]))


def test_gradients_are_compared_with_ours():
    left = iter([torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])])
    both = (Contender("ours", lambda: 1.0), Contender("TRL", lambda: 1.0))
    found = measure(case(*both, gradient=lambda: next(left)), Steps(), 1, lambda _: None)
    assert found.took["TRL"].gradient_apart == relative(
        torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    )
    assert found.took["TRL"].gradient_apart == torch.tensor(0.1).item()


def test_a_missed_goal_says_where_the_time_goes():
    def work() -> float:
        return float((torch.randn(50, 50) @ torch.randn(50, 50)).sum() * 0)

    both = (Contender("ours", work), Contender("TRL", work))
    found = measure(case(*both, goal=1.8), Steps(), 1, lambda _: None)
    assert "aten::" in found.where
    assert results.verdicts([found])[0].startswith("MISSED: a case: 1.00x of at least 1.8x")


def test_a_met_goal_says_so():
    assert results.verdicts([result([1], [2], goal=1.8)]) == [
        "met: a case: 2.00x of at least 1.8x over TRL"
    ]


def test_memory_is_ours_by_theirs():
    one = result([1], [2], goal=1.8)
    one.took["ours"].counts.saved_bytes, one.took["TRL"].counts.saved_bytes = 70, 100
    assert results.kept(one, "TRL") == 0.7
    assert "MISSED: a case: activation memory 0.70" in results.verdicts([one])[1]


def test_what_does_not_fit_is_said_and_the_rest_is_measured():
    def too_large() -> float:
        raise torch.OutOfMemoryError("no")

    found = measure(
        case(Contender("ours", lambda: 1.0), Contender("TRL", too_large), goal=2.0),
        Steps(),
        1,
        lambda _: None,
    )
    assert found.ratio("TRL") is None
    assert "| TRL | does not fit |" in results.markdown([found], {})


def test_results_keep_no_model():
    found = measure(case(Contender("ours", lambda: 1.0)), Steps(), 1, lambda _: None)
    assert (found.case.contenders, found.case.models, found.case.gradient) == ((), (), None)


def test_the_file_holds_every_round(tmp_path):
    files = results.write([result([1, 2], [3, 4])], {"threads": 1}, tmp_path, "cpu")
    data = json.loads(files[0].read_text())
    assert data["threads"] == 1
    assert data["cases"][0]["took"]["TRL"]["seconds"] == [3, 4]
    assert "| a case | ours | 1.5 ± 33% |" in files[1].read_text()


def test_utilisation_is_useful_work_against_the_chips_peak():
    one = result([2.0], [4.0], useful_flops=989e12)
    rows = results.cells([one], chip="NVIDIA H200")
    assert [row[-1] for row in rows] == ["494 (50.0%)", "247 (25.0%)"]
