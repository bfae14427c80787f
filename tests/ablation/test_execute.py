"""Carrying a plan out: sharing, resuming, failures that stay where they are."""

from collections import Counter
from pathlib import Path

import pytest

from chainsight.ablation.execute import execute
from chainsight.ablation.results import collect
from chainsight.ablation.work import Order
from tests.ablation.conftest import Bench, Done, Fakes, Watching


def test_every_node_is_done_once(bench: Bench) -> None:
    fakes, view = Fakes(), Watching()
    state = bench.state()
    execute(state, 2, fakes, view)
    assert fakes.counts() == Counter(node.stage.name for node in state.plan.nodes.values())
    assert len(fakes.orders) == 22  # of 44 without sharing
    assert set(state.done) == set(state.plan.nodes)
    assert view.was_reused == []
    assert view.most == 2


def test_one_job_is_one_at_a_time(bench: Bench) -> None:
    view = Watching()
    execute(bench.state(), 1, Fakes(), view)
    assert view.most == 1


def test_a_second_ablation_reuses_what_the_store_has(bench: Bench) -> None:
    bench.done({"both": {"recipe": "sft"}})
    fakes, view = Fakes(), Watching()
    state = bench.state({"both": {"recipe": "sft"}, "DPO": {"recipe": "dpo"}}, name="other")
    execute(state, 2, fakes, view)
    assert fakes.counts() == {"sample": 2, "pair": 2, "dpo": 2, "score": 2}
    assert len(view.was_reused) == 1 + 1 + 2 + 2


def test_different_nodes_with_equal_inputs_are_executed_once(bench: Bench) -> None:
    """Two prepares that differ in a limit which no row touches: what follows is equal by key."""
    settings = {
        "a": {"recipe": "sft"},
        "b": {"recipe": "sft", "set": {"prepare.max_quarantine_rate": 0.5}},
    }
    fakes = Fakes()
    state = bench.done(settings, fakes, seeds=[0])
    assert len(state.plan.nodes) == 8
    assert fakes.counts() == {"prepare": 2, "distill": 1, "sft": 1, "score": 1}
    assert set(state.done) == set(state.plan.nodes)


def fails_without_a_cut(order: Order) -> bool:
    return order.stage == "dpo" and order.config["max_words"] == 0 and order.run["seed"] == 1


def test_a_failure_stops_what_depends_on_it_and_nothing_else(bench: Bench) -> None:
    state = bench.done(fakes=Fakes(fails_without_a_cut))
    (failed,) = state.failed
    assert state.failed[failed] == "dpo: it shall fail"
    assert [(row.name, row.seed, cause) for row, cause in state.lost_rows()] == [
        ("no cut", 1, failed)
    ]
    assert set(state.done) | {failed} | set(state.lost) == set(state.plan.nodes)
    found = {s["name"]: sorted(s["seeds"]) for s in collect(state)["settings"]}
    assert found == {"format": ["0", "1"], "both": ["0", "1"], "DPO": ["0", "1"], "no cut": ["0"]}


def test_what_a_signal_killed_is_tried_once_more(bench: Bench) -> None:
    seen = Counter[str]()

    def first_dpo(order: Order) -> bool:
        seen[order.stage] += 1
        return order.stage == "dpo" and seen["dpo"] == 1

    fakes, view = Fakes(crashes=first_dpo), Watching()
    state = bench.state()
    execute(state, 2, fakes, view)
    assert list(view.why_crashed.values()) == ["killed by SIGSEGV"]
    assert (state.failed, view.why_failed, state.lost_rows()) == ({}, {}, [])
    assert fakes.counts() == Counter(n.stage.name for n in state.plan.nodes.values()) + Counter(
        ["dpo"]
    )


def test_what_crashes_twice_has_failed(bench: Bench) -> None:
    fakes = Fakes(crashes=lambda order: order.stage == "distill")
    state = bench.done(fakes=fakes)
    assert fakes.counts() == {"prepare": 1, "distill": 2}
    assert list(state.failed.values()) == ["killed by SIGSEGV"]
    assert len(state.lost_rows()) == 8


def test_after_a_failure_the_same_plan_goes_on(bench: Bench) -> None:
    bench.done(fakes=Fakes(fails_without_a_cut))
    again = Fakes()
    state = bench.done(fakes=again)
    assert again.counts() == {"dpo": 1, "score": 1}
    assert not state.failed
    assert not state.lost_rows()


def test_what_everything_depends_on_loses_every_row(bench: Bench) -> None:
    fakes = Fakes(lambda order: order.stage == "distill")
    state = bench.done(fakes=fakes)
    assert fakes.counts() == {"prepare": 1, "distill": 1}
    assert len(state.lost_rows()) == 8


def test_a_model_that_is_not_there_is_a_failure_like_others(bench: Bench) -> None:
    settings = {"good": {"recipe": "sft"}, "bad": {"recipe": "sft", "set": {"model.base": "/none"}}}
    state = bench.done(settings, seeds=[0])
    assert [row.name for row, _ in state.lost_rows()] == ["bad"]
    (why,) = state.failed.values()
    assert "/none: no such folder" in why


class StoppedError(Exception):
    """Stands for ctrl-c."""


def test_workers_are_stopped_when_the_command_is(bench: Bench) -> None:
    started: list[Done] = []

    class Stopping(Fakes):
        def __call__(self, order: Order, place: Path) -> Done:
            if order.stage == "sft" and started:
                raise StoppedError
            worker = super().__call__(order, place)
            if order.stage == "sft":
                started.append(worker)
            return worker

    with pytest.raises(StoppedError):
        bench.done(fakes=Stopping())
    (worker,) = started
    assert worker.stopped
