"""In the middle of an epoch: told to stop and gone on, every row is learned once."""

from collections import Counter
from dataclasses import replace

import pytest
from lessons import context, dpo_trainer, pairs_of, sft_rows, sft_trainer

from chainsight.errors import ChainsightError
from chainsight.training import loop, resume
from chainsight.vlm import checkpoint


def learned_by(trainer):
    """Answers by how often they were learned."""
    seen = Counter()
    make = trainer.part_of_loss

    def part_of_loss(model, inputs, step):
        layout = getattr(inputs, "batch", inputs).layout
        for owner in range(layout.num_branches):
            seen[tuple(layout.targets[layout.owners == owner].tolist())] += 1
        return make(model, inputs, step)

    trainer.part_of_loss = part_of_loss
    return seen


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_stop_in_the_middle_of_an_epoch_repeats_no_row_and_skips_none(
    tmp_path, student_folder, stage
):
    make = sft_trainer if stage == "sft" else dpo_trainer
    template = checkpoint.load(student_folder).template
    steps = iter([False, True])  # SIGTERM comes in the second step
    settings = {"batch_size": 5, "learning_rate": 1e-4, "share": "question"}
    first = make(context(tmp_path / "a", student_folder), **settings)
    first.context = replace(first.context, stopping=lambda: next(steps))
    before = learned_by(first)
    with pytest.raises(ChainsightError, match=r"told to stop \(SIGTERM\).* after step 2 of"):
        loop.train(first, stage, first.num_steps)
    kept = resume.newest_complete(tmp_path / "a" / "checkpoints")
    assert kept.name == "checkpoint-2"
    second = make(context(tmp_path / "a", student_folder), **settings)
    after = learned_by(second)
    curve = loop.train(second, stage, second.num_steps)
    assert [entry["step"] for entry in curve] == list(range(1, second.num_steps + 1))
    rows = sft_rows(template)
    if stage == "dpo":
        # A unit that a step's border cuts says its shared response in both steps.
        pairs = pairs_of(template)
        rows = {
            (n, row.response_ids): row
            for n, step in enumerate(second.steps)
            for part in step
            for i in part
            for row in (pairs[i].chosen, pairs[i].rejected)
        }.values()
    assert sum(before.values()) > 0
    assert before + after == Counter(tuple(row.response_ids) for row in rows)
