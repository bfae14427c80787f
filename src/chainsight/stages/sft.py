"""examples, rationales -> policy: short and reasoned answers taught to the base model.

One row is one (example, mode): the direct prompt with the short answer for every example, the
reasoning prompt with the teacher's kept rationale (arXiv 2410.16198, section 3, composition 4).
The loss is on the answer and its end-of-turn alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chainsight import prompts, records
from chainsight.config import SftSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.records import MODES, Example, Mode, Rationale
from chainsight.training import loop, setup, sft
from chainsight.vlm import checkpoint
from chainsight.vlm.template import Row, Template, student


@dataclass(frozen=True)
class Rows:
    """What there is to learn."""

    kept: list[Row]
    counts: dict[Mode, int]
    num_too_long: int


def run(
    config: SftSection, *, examples: Path, rationales: Path, policy: Path, context: Context
) -> dict[str, float]:
    """Train the base model and write the policy checkpoint with its `history.jsonl`.

    Raises:
        ChainsightError: nothing to learn from, or the loss is not finite.
        CheckpointError: the base model is refused.
    """
    known = {e.id: e for e in records.read(examples / "examples.parquet", Example)}
    reasons = {
        r.example_id: r.text for r in records.read(rationales / "rationales.parquet", Rationale)
    }
    loaded = setup.load_for_training(context.model.base, config, context)
    rows = build_rows(known, reasons, loaded.template, config)
    trainer = sft.build(loaded, rows.kept, config, context)
    curve = loop.train(trainer, "sft", trainer.num_steps)
    base = checkpoint.fingerprint(context.model.base, context.model.revision)
    on = setup.kept_on(context.model.base, loaded, config, context)
    loop.save_trained(trainer, loaded, policy, base=base, on=on, curve=curve)
    return {
        "num_direct": rows.counts["direct"],
        "num_cot": rows.counts["cot"],
        "num_too_long": rows.num_too_long,
        "num_steps": trainer.num_steps,
        "final_loss": curve[-1]["loss"],
    }


def build_rows(
    examples: Mapping[str, Example],
    reasons: Mapping[str, str],
    template: Template,
    config: SftSection,
) -> Rows:
    """The rows of the wanted modes, in the order of the examples.

    Raises:
        ChainsightError: no rationale at all, one for an unknown example, or every row too long.
    """
    if "cot" in config.targets and not reasons:
        raise ChainsightError(
            "sft: no rationales were kept, so there is no reasoning to learn; look at "
            "rejected.parquet of the rationales, or set sft.targets to [direct]"
        )
    stray = sorted(set(reasons) - set(examples))
    if stray:
        raise ChainsightError(
            f"sft: rationale for {stray[0]!r}, which is not among the examples; give both "
            "artifacts from the same run"
        )
    kept, counts, num_too_long = [], dict.fromkeys(MODES, 0), 0
    for example in examples.values():
        for mode, target in targets(example, reasons.get(example.id), config).items():
            row = make_row(example, mode, target, template)
            if len(row) > config.max_length:
                num_too_long += 1
                continue
            kept.append(row)
            counts[mode] += 1
    if not kept:
        raise ChainsightError(
            f"sft: none of {num_too_long} rows fits into max_length {config.max_length} tokens; "
            "raise sft.max_length (a picture alone may take thousands)"
        )
    return Rows(kept, counts, num_too_long)


def targets(example: Example, reason: str | None, config: SftSection) -> dict[Mode, str]:
    """What the model should answer, by mode."""
    wanted: dict[Mode, str] = {}
    if "direct" in config.targets:
        wanted["direct"] = prompts.short_answer(example)
    if "cot" in config.targets and reason is not None:
        wanted["cot"] = reason.strip()
    return wanted


def make_row(example: Example, mode: Mode, target: str, template: Template) -> Row:
    """Prompt, answer and end-of-turn as token ids."""
    prompt = student(example, mode)
    response = (*template.text_ids(target), template.end_of_turn)
    return Row(prompt.key, template.prompt_ids(prompt), response, prompt.image)
