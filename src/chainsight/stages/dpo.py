"""examples, pairs, policy -> aligned: the policy moved from wrong chains towards right ones.

Sigmoid DPO on summed log-probabilities (arXiv 2410.16198 and its public code):
both responses are cut to 90 whitespace words and carry no end-of-turn, so that the cut teaches
nobody to stop; the prompt is never cut; vision tower and projector stay as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chainsight import records, stored
from chainsight.config import DpoSection, PromptStyle
from chainsight.context import Context, Progress, Silent
from chainsight.errors import ChainsightError
from chainsight.records import Example, Pair
from chainsight.training import dpo, loop, setup
from chainsight.training.data import PairRow
from chainsight.vlm import checkpoint
from chainsight.vlm.template import Template, student

CURVES = ("rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected")


def run(
    config: DpoSection,
    *,
    examples: Path,
    pairs: Path,
    policy: Path,
    aligned: Path,
    context: Context,
) -> dict[str, float]:
    """Align the policy and write its checkpoint with `history.jsonl`.

    Raises:
        ChainsightError: no pairs, a pair of an unknown example, or the loss is not finite.
        CheckpointError: the policy is refused.
    """
    read = list(records.read(pairs / "pairs.parquet", Pair))
    wanted = {pair.example_id for pair in read}
    source = stored.examples(examples / "examples.parquet")
    known = {example.id: example for example in source if example.id in wanted}
    loaded = setup.load_for_training(policy, config, context)
    style = context.model.prompt_style
    rows = build_rows(known, read, loaded.template, config, style, context.progress)
    trainer = dpo.build(loaded, rows, config, context)
    curve = loop.train(trainer, "dpo", trainer.num_steps)
    base = checkpoint.fingerprint(policy)
    on = setup.kept_on(policy, loaded, config, context, context.inputs.get("policy"))
    loop.save_trained(trainer, loaded, aligned, base=base, on=on, curve=curve)
    last = {name.replace("rewards/", "final_reward_"): curve[-1][name] for name in CURVES}
    num_cut = sum(
        cut(text, config.max_words) != text
        for pair in read
        for text in (pair.chosen, pair.rejected)
    )
    return {
        "num_pairs": len(rows),
        "num_questions": len(wanted),
        "num_cut": num_cut,
        "num_steps": trainer.num_steps,
        "final_loss": curve[-1]["loss"],
        **last,
    }


def cut(text: str, max_words: int) -> str:
    """The first `max_words` words between single spaces (0: all); a newline does not end a word.

    Exactly the public code's `" ".join(text.split(" ")[:90])`.
    """
    return " ".join(text.split(" ")[:max_words]) if max_words else text


def build_rows(
    examples: Mapping[str, Example],
    pairs: Sequence[Pair],
    template: Template,
    config: DpoSection,
    style: PromptStyle = "paper",
    progress: Progress | None = None,
) -> list[PairRow]:
    """The pairs as token ids.

    Raises:
        ChainsightError: no pairs at all, or one of an unknown example.
    """
    if not pairs:
        raise ChainsightError(
            "dpo: no pairs; widen pair.min_accuracy and pair.max_accuracy, sample more candidates "
            "or set pair.teacher_as_chosen"
        )
    rows = []
    with (progress or Silent()).task("tokenise", len(pairs), "pairs") as task:
        for pair in pairs:
            rows.append(make_row(examples, pair, template, config.max_words, style))
            task.advance()
    return rows


def make_row(
    examples: Mapping[str, Example],
    pair: Pair,
    template: Template,
    max_words: int,
    style: PromptStyle = "paper",
) -> PairRow:
    """Prompt and both cut responses, without end-of-turn."""
    if pair.example_id not in examples:
        raise ChainsightError(
            f"dpo: pair of {pair.example_id!r}, which is not among the examples; give both "
            "artifacts from the same run"
        )
    row = template.row(student(examples[pair.example_id], "cot", style))
    chosen, rejected = (
        replace(row, response_ids=template.text_ids(cut(text, max_words)))
        for text in (pair.chosen, pair.rejected)
    )
    return PairRow(chosen, rejected)
