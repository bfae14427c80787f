"""Sampling: N scored candidates per question, the same whatever was interrupted."""

from dataclasses import replace

import pytest

from chainsight import records
from chainsight.config import SampleSection
from chainsight.errors import ChainsightError
from chainsight.records import Candidate, Example
from chainsight.stages import sample
from chainsight.vlm.sampling import Generated

FAST = {"num_candidates": 3, "max_new_tokens": 10, "batch_size": 2}


def draw(world, name="sample", progress=None, **changes):
    folder = world.folder(f"candidates-{name}")
    metrics = sample.run(
        SampleSection(**(FAST | changes)),
        examples=world.root / "examples",
        policy=world.student,
        candidates=folder,
        context=world.context(name, progress),
    )
    return folder, metrics


def rows(folder):
    return list(records.read(folder / "candidates.parquet", Candidate))


def test_each_question_gets_its_candidates_in_order(world):
    folder, metrics = draw(world)
    found = [(c.example_id, c.index) for c in rows(folder)]
    assert found == [(e.id, k) for e in world.examples for k in range(3)]
    assert (metrics["num_questions"], metrics["num_candidates"]) == (6, 18)
    assert metrics["num_tokens"] == sum(c.num_tokens for c in rows(folder))
    rates = [value for name, value in metrics.items() if name.endswith("_rate")]
    assert sum(rates) == pytest.approx(1.0)
    assert all(c.logprob < 0 for c in rows(folder))


def test_candidates_do_not_depend_on_the_batch_size(world):
    texts = [[c.text for c in rows(draw(world, str(size), batch_size=size)[0])] for size in (1, 4)]
    assert texts[0] == texts[1]


def test_a_killed_run_keeps_its_finished_batches(world, contents, interrupting, interrupted):
    straight, metrics = draw(world, "straight")
    with pytest.raises(interrupted):
        draw(world, "killed", interrupting("sample", 4 * 3))
    parts = world.root / "work/killed/candidates"
    kept = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert sorted(kept) == ["000000000.parquet", "000000002.parquet"]
    (parts / "000000004.part").write_bytes(b"torn")
    resumed, again = draw(world, "killed")
    assert again == metrics
    assert contents(resumed) == contents(straight)
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in parts.iterdir()}.items()


def test_limit_and_datasets_choose_the_questions(world):
    assert draw(world, limit=2)[1]["num_questions"] == 2
    assert draw(world, "all", datasets=("toy", "other"))[1]["num_questions"] == 6
    with pytest.raises(ChainsightError, match=r"no example of \['other'\].*\['toy'\]"):
        draw(world, "none", datasets=("other",))


def test_a_limit_is_spread_over_the_datasets():
    names = ["a/0", "a/1", "a/2", "b/0", "c/0", "c/1"]
    questions = [replace(QUESTION, id=name, dataset=name[0]) for name in names]

    def chosen(limit):
        return [one.id for one in sample.spread(questions, limit)]

    assert chosen(2) == ["a/0", "b/0"]
    assert chosen(5) == ["a/0", "a/1", "b/0", "c/0", "c/1"]
    assert chosen(None) == chosen(9) == names


def test_requests_to_be_learned_word_for_word_are_not_sampled(world):
    request = replace(world.examples[0], id="i", kind="instruct")
    world.write("examples", [request, *world.examples[:2]], Example)
    _, metrics = draw(world)
    assert metrics["num_questions"] == 2
    world.write("examples", [request], Example)
    with pytest.raises(ChainsightError, match="no example"):
        draw(world, "none")


def brings(example, chosen, rejected):
    chains = {
        "chosen": f"So.\n\n### Answer: {chosen}",
        "rejected": f"No.\n\n### Answer: {rejected}",
    }
    return replace(example, meta=chains)


def test_published_chains_are_judged_and_no_model_is_loaded(world):
    pairs = [(0, 7), (2, 9), (5, 4), (3, 1)]  # the answers are 0, 2, 4 and 6
    examples = [brings(e, *pair) for e, pair in zip(world.examples, pairs, strict=False)]
    world.write("examples", [*examples, world.examples[4]], Example)
    world.student = world.root / "no such model"
    folder, metrics = draw(world, source="published")
    found = [(c.example_id[-1], c.index, c.score, c.status) for c in rows(folder)]
    assert found == [
        ("0", 0, 1.0, "marker"), ("0", 1, 0.0, "marker"),
        ("1", 0, 1.0, "marker"), ("1", 1, 0.0, "marker"),
        ("2", 0, 0.0, "marker"), ("2", 1, 1.0, "marker"),
        ("3", 0, 0.0, "marker"), ("3", 1, 0.0, "marker"),
    ]  # fmt: skip
    assert rows(folder)[0].text == "So.\n\n### Answer: 0"
    assert (metrics["num_questions"], metrics["num_candidates"]) == (4, 8)
    assert (metrics["num_chosen_wrong"], metrics["num_rejected_right"]) == (2, 1)


def test_without_published_pairs_the_way_out_is_named(world):
    with pytest.raises(ChainsightError, match="no example brings a chosen and a rejected chain"):
        draw(world, source="published")


def test_of_published_pairs_too_the_datasets_may_be_chosen(world):
    world.write("examples", [brings(world.examples[0], 0, 1)], Example)
    with pytest.raises(ChainsightError, match=r"no example of \['other'\].*\['toy'\]"):
        draw(world, source="published", datasets=("other",))


QUESTION = Example("q", "toy", "train", "?", ("14",), "exact_match", (b"",))


@pytest.mark.parametrize(
    ("text", "truncated", "answer", "status", "value"),
    [
        ("so 14.\n\n### Answer: 14", False, "14", "marker", 1.0),
        ("so 13.\n\n### Answer: 13", False, "13", "marker", 0.0),
        ("the answer is 14", True, "", "truncated", 0.0),
        ("", False, "", "empty", 0.0),
    ],
)
def test_a_candidate_is_judged_by_its_datasets_metric(text, truncated, answer, status, value):
    made = sample.score(QUESTION, 4, Generated(text, (9,) * 7, truncated), -3.5)
    assert (made.answer, made.status, made.score) == (answer, status, value)
    assert (made.index, made.num_tokens, made.logprob) == (4, 7, -3.5)


def test_the_summary_counts_questions_with_a_right_candidate():
    made = [
        Candidate(name, k, "", "", "marker", float(value), 1, -1.0)
        for name, values in (("a", (0, 1, 1)), ("b", (0, 0, 0)))
        for k, value in enumerate(values)
    ]
    questions = [replace(QUESTION, id=name) for name in "ab"]
    metrics = sample.summary(made, questions)
    assert metrics["accuracy"] == pytest.approx(2 / 6)
    assert metrics["best_of_n_accuracy"] == 0.5
    assert metrics["marker_rate"] == 1.0
    assert "toy/marker_rate" not in metrics


def test_how_answers_were_found_is_said_of_each_dataset():
    questions = [replace(QUESTION, id=name, dataset=name) for name in "ab"]
    made = [
        Candidate(name, k, "", "", status, 0.0, 1, -1.0)
        for name, statuses in (("a", ("marker", "truncated")), ("b", ("marker", "marker")))
        for k, status in enumerate(statuses)
    ]
    metrics = sample.summary(made, questions)
    assert (metrics["marker_rate"], metrics["truncated_rate"]) == (0.75, 0.25)
    assert (metrics["a/truncated_rate"], metrics["b/marker_rate"]) == (0.5, 1.0)
