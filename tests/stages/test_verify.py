"""Verification: the aligned model's answers with rewards, the same whatever was interrupted."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from chainsight import records
from chainsight.config import VerifySection
from chainsight.errors import RecordError
from chainsight.records import Example, Verified
from chainsight.stages import verify
from chainsight.vlm import asking, checkpoint
from chainsight.vlm.sampling import generate
from chainsight.vlm.template import student
from tests.vlm.plain import inputs

FAST = {"num_candidates": 3, "max_new_tokens": 10, "batch_size": 2}


@pytest.fixture
def aligned(world):
    """A model that differs a little from the student."""
    loaded = checkpoint.load(world.student)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    folder = world.folder("aligned")
    checkpoint.save(loaded, folder, base=str(world.student), kind="full", dtype="float32")
    return folder


@pytest.fixture
def judge(world, aligned):
    world.write("benchmarks", world.examples, Example)

    def run(name="verify", progress=None, **changes):
        folder = world.folder(f"verified-{name}")
        metrics = verify.run(
            VerifySection(**(FAST | changes)),
            benchmarks=world.root / "benchmarks",
            policy=world.student,
            aligned=aligned,
            verified=folder,
            context=world.context(name, progress),
        )
        return folder, metrics

    return run


def rows(folder):
    return list(records.read(folder / "verified.parquet", Verified))


def alone(loaded, example, tokens):
    """Each token's log-probability by a forward pass of the whole, one answer, plain attention."""
    row = replace(loaded.template.row(student(example, "cot")), response_ids=tuple(tokens))
    with torch.no_grad():
        logps = loaded.model(**inputs(loaded, row)).logits[0].log_softmax(-1)
    start = len(row.prompt_ids) - 1
    return [float(logps[start + i, token]) for i, token in enumerate(tokens)]


def test_each_question_has_its_greedy_answer_and_then_its_samples(world, judge):
    folder, metrics = judge()
    found = [(one.example_id, one.index) for one in rows(folder)]
    assert found == [(e.id, k) for e in world.examples for k in (-1, 0, 1, 2)]
    assert (metrics["num_questions"], metrics["num_answers"]) == (6, 24)
    assert {"greedy/accuracy", "best/accuracy", "best/gain_low", "weighted/gain"} <= set(metrics)
    assert all("".join(one.pieces) == one.text for one in rows(folder))
    assert all(len(one.pieces) == len(one.rewards) == one.num_tokens for one in rows(folder))


def test_rewards_are_those_of_two_separate_forward_passes(world, judge, aligned):
    folder, _ = judge()
    better, before = checkpoint.load(aligned), checkpoint.load(world.student)
    options = {"max_new_tokens": 10, "temperature": 1.0, "num_candidates": 3, "seed": 5}
    for example in world.examples[:2]:
        (said,) = generate(better, [student(example, "cot")], **options)
        found = [one for one in rows(folder) if one.example_id == example.id and one.index >= 0]
        assert [one.text for one in found] == [one.text for one in said]
        for one, answer in zip(found, said, strict=True):
            mine = alone(better, example, answer.tokens)
            theirs = alone(before, example, answer.tokens)
            wanted = [a - b for a, b in zip(mine, theirs, strict=True)]
            assert max(map(abs, wanted)) > 0.01  # the two models do differ
            assert one.rewards == pytest.approx(wanted, abs=1e-4)
            assert one.logprob_aligned == pytest.approx(sum(mine), abs=1e-4)
            assert one.logprob_policy == pytest.approx(sum(theirs), abs=1e-4)


def test_nothing_depends_on_the_batch_size(judge):
    small, large = (rows(judge(str(size), batch_size=size)[0]) for size in (1, 4))
    assert [one.text for one in small] == [one.text for one in large]
    for one, other in zip(small, large, strict=True):
        assert one.rewards == pytest.approx(other.rewards, abs=1e-4)


def test_a_killed_run_goes_on_and_ends_alike(world, contents, judge, interrupting, interrupted):
    straight, metrics = judge("straight")
    with pytest.raises(interrupted):
        judge("killed", interrupting("draw", 6 + 3 * 4))
    with pytest.raises(interrupted):
        judge("killed", interrupting("judge", 4 * 2))
    work = world.root / "work/killed"
    count = Counter(path.parent.name for path in work.glob("*/*.parquet"))
    assert count == {"greedy": 3, "drawn": 3, "judged": 1}
    kept = {path: path.stat().st_mtime_ns for path in work.glob("*/*.parquet")}
    resumed, again = judge("killed")
    assert again == metrics
    assert contents(resumed) == contents(straight)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def test_the_greedy_answer_is_the_one_that_evaluation_scores(world, judge, aligned):
    folder, _ = judge()
    said = asking.ask(checkpoint.load(aligned), world.examples, "cot", style="paper",
                      max_new_tokens=10, batch_size=4)  # fmt: skip
    greedy = [one for one in rows(folder) if one.index == verify.GREEDY]
    for one, reply in zip(greedy, said, strict=True):
        assert (one.text, one.answer) == (reply.text, reply.reading.value)


def test_the_policy_may_answer_and_rewards_keep_their_sign(world, judge, aligned):
    folder, _ = judge(drawn_by="policy")
    better, before = checkpoint.load(aligned), checkpoint.load(world.student)
    example = world.examples[0]
    options = {"max_new_tokens": 10, "temperature": 1.0, "num_candidates": 3, "seed": 5}
    (said,) = generate(before, [student(example, "cot")], **options)
    found = [one for one in rows(folder) if one.example_id == example.id and one.index >= 0]
    for one, answer in zip(found, said, strict=True):
        assert one.text == answer.text
        gain = sum(alone(better, example, answer.tokens)) - sum(
            alone(before, example, answer.tokens)
        )
        assert sum(one.rewards) == pytest.approx(gain, abs=1e-4)


def test_a_limit_takes_questions_from_all_over(world):
    chosen = verify.select(iter(world.examples), 3)
    assert [one.id[-1] for one in chosen] == ["0", "2", "4"]
    assert len(verify.select(iter(world.examples), 50)) == 6
    with pytest.raises(RecordError, match=r"no benchmark question.*prepare\.benchmarks"):
        verify.select(iter([replace(world.examples[0], kind="instruct")]), None)
