"""Scores kept by content: what is new is scored, and nothing else."""

import pytest
import torch
from lessons import context, dpo_trainer, nudge, pairs_of, png

from chainsight.errors import ChainsightError
from chainsight.training.data import PairRow
from chainsight.vlm import checkpoint
from chainsight.vlm.template import Row


@pytest.fixture
def pairs(student_folder):
    return pairs_of(checkpoint.load(student_folder).template)


@pytest.fixture
def scored(tmp_path, student_folder):
    """How many responses a trainer scores, and what all of its own have for scores."""

    def score(pairs, student=student_folder, **settings):
        kept = tmp_path / "reference.jsonl"
        before = len(kept.read_text().splitlines()) if kept.exists() else 0
        trainer = dpo_trainer(context(tmp_path, student), pairs, reference="cache", **settings)
        rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
        return len(kept.read_text().splitlines()) - before, trainer.scores.of(rows)

    return score


def test_of_pairs_that_changed_only_what_is_new_is_scored(scored, pairs):
    num_distinct = len({(p.key, p.response_ids) for pair in pairs for p in vars(pair).values()})
    count, scores = scored(pairs)
    assert count == num_distinct < 2 * len(pairs)
    assert scored(pairs)[0] == 0
    row = pairs[0].chosen
    fresh = Row(row.key, row.prompt_ids, (70, 71), row.images)
    count, again = scored([*pairs[5:], PairRow(row, fresh)])
    assert count == 1
    assert torch.equal(again[:-2], scores[10:])


def test_a_score_is_of_one_model_one_picture_and_one_weighting(
    scored, pairs, tmp_path, student_folder
):
    few = pairs[:1]
    assert scored(few)[0] == 2
    assert scored(few, token_weights="cos")[0] == 2
    chosen, rejected = (
        Row(row.key, row.prompt_ids, row.response_ids, (png("yellow"),))
        for row in (few[0].chosen, few[0].rejected)
    )
    assert scored([PairRow(chosen, rejected)])[0] == 2
    other = tmp_path / "other"
    loaded = checkpoint.load(student_folder)
    nudge(loaded.model)
    checkpoint.save(loaded, other, base="")
    assert scored(few, other)[0] == 2


def test_told_to_stop_while_it_is_asked_it_keeps_what_it_has(scored, tmp_path, student_folder):
    told = iter([False, True])  # SIGTERM comes in the second pass
    with pytest.raises(ChainsightError, match="while the reference was asked"):
        dpo_trainer(context(tmp_path, student_folder, stopping=lambda: next(told)))
    kept = len((tmp_path / "reference.jsonl").read_text().splitlines())
    pairs = pairs_of(checkpoint.load(student_folder).template)
    num_distinct = len({(p.key, p.response_ids) for pair in pairs for p in vars(pair).values()})
    assert scored(pairs)[0] == num_distinct - kept < num_distinct
