"""What SFT and RFT teach: answers of examples as rows, and a training on them.

One row is one (example, mode): the direct prompt with the short answer, or the reasoning prompt
with a chain of thought. The loss is on the answers and their end-of-turn alone.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chainsight import prompts
from chainsight.config import PromptStyle, SftSection
from chainsight.context import Context, Progress, Silent
from chainsight.errors import ChainsightError
from chainsight.records import Example, Mode
from chainsight.training import data, loop, setup, sft
from chainsight.training.composition import compose
from chainsight.vlm import checkpoint
from chainsight.vlm.template import Row, Template, student

SORTS = ("direct", "cot", "instruct")


@dataclass(frozen=True)
class Reasons:
    """Chains of thought by example id."""

    learned: Mapping[str, str]
    """Those that the composition draws from."""
    shown: Mapping[str, str] | None = None
    """Those of the format rows, where they are others; an example with both has the learned one."""

    @property
    def format(self) -> Mapping[str, str]:
        """Those of the format rows."""
        return self.learned if self.shown is None else self.shown

    def of(self, example: Example) -> str:
        """The chain that is learned of `example`."""
        return (self.learned.get(example.id) or self.format[example.id]).strip()


@dataclass(frozen=True)
class Rows:
    """What there is to learn."""

    kept: list[Row]
    counts: Counter[tuple[str, str]]
    """Kept rows by dataset and sort."""
    num_too_long: int
    num_turns_cut: int
    """Exchanges at the end of conversations for which there was no room."""

    def metrics(self) -> dict[str, float]:
        """`num_direct` and so on; `chartqa/num_direct` where there are several datasets."""
        datasets = sorted({dataset for dataset, _ in self.counts})
        total = {f"num_{s}": float(sum(self.counts[d, s] for d in datasets)) for s in SORTS}
        if len(datasets) > 1:
            each = {f"{d}/num_{s}": float(self.counts[d, s]) for d in datasets for s in SORTS}
            total |= {name: count for name, count in each.items() if count}
        return total | {
            "num_too_long": float(self.num_too_long),
            "num_turns_cut": float(self.num_turns_cut),
            "num_learned_tokens": float(sum(map(data.num_learned, self.kept))),
        }


def teach(
    stage: str,
    start: str | Path,
    examples: Mapping[str, Example],
    reasons: Reasons,
    config: SftSection,
    folder: Path,
    context: Context,
) -> dict[str, float]:
    """Train the model `start`, and write its checkpoint with `history.jsonl`.

    Args:
        stage: who asks, for messages and the progress; the section of its configuration.
        start: the base model, or the folder of the input `policy`.

    Raises:
        ChainsightError: nothing to learn from, or the loss is not finite.
        CheckpointError: the model is refused.
    """
    loaded = setup.load_for_training(start, config, context)
    rows = build_rows(
        examples,
        reasons,
        loaded.template,
        config,
        stage=stage,
        style=context.model.prompt_style,
        seed=context.seed,
        progress=context.progress,
    )
    trainer = sft.build(loaded, rows.kept, config, context)
    curve = loop.train(trainer, stage, trainer.num_steps)
    base = checkpoint.fingerprint(start, setup.revision(start, context))
    uri = None if start == context.model.base else context.inputs.get("policy")
    on = setup.kept_on(start, loaded, config, context, uri)
    loop.save_trained(trainer, loaded, folder, base=base, on=on, curve=curve)
    return rows.metrics() | {"num_steps": trainer.num_steps, "final_loss": curve[-1]["loss"]}


def build_rows(
    examples: Mapping[str, Example],
    reasons: Reasons,
    template: Template,
    config: SftSection,
    *,
    stage: str = "sft",
    style: PromptStyle = "paper",
    seed: int = 0,
    progress: Progress | None = None,
) -> Rows:
    """The rows of the composition, in the order of the examples.

    Raises:
        ChainsightError: no rationale at all, one for an unknown example, no row, or each too long.
    """
    _require_known(examples, reasons, config, stage)
    kept: list[Row] = []
    counts: Counter[tuple[str, str]] = Counter()
    num_too_long = num_turns_cut = 0
    chosen = compose(examples.values(), reasons.learned, config, seed, reasons.format)
    with (progress or Silent()).task("tokenise", len(examples), "examples") as task:
        for example in examples.values():
            task.advance()
            for mode in chosen.modes(example):
                answer = reasons.of(example) if mode == "cot" else prompts.target(example)
                row, num_cut = make_row(example, mode, answer, template, style, config.max_length)
                if len(row) > config.max_length:
                    num_too_long += 1
                    continue
                kept.append(row)
                num_turns_cut += num_cut
                counts[example.dataset, "instruct" if example.kind == "instruct" else mode] += 1
    if not kept and not num_too_long:
        raise ChainsightError(
            f"{stage}: composition {config.composition!r} leaves nothing to learn; raise "
            f"{stage}.format_rows or the ratio"
        )
    if not kept:
        raise ChainsightError(
            f"{stage}: none of {num_too_long} rows fits into max_length {config.max_length} "
            f"tokens; raise {stage}.max_length (a picture alone may take thousands)"
        )
    return Rows(kept, counts, num_too_long, num_turns_cut)


def _require_known(
    examples: Mapping[str, Example], reasons: Reasons, config: SftSection, stage: str
) -> None:
    given = {**reasons.learned, **reasons.format}
    wanted = config.composition in ("reasoned", "both") or config.format_rows
    if wanted and not given and any(e.kind != "instruct" for e in examples.values()):
        raise ChainsightError(
            f"{stage}: no rationales were kept, so there is no reasoning to learn; look at "
            f"rejected.parquet of the rationales, or set {stage}.composition to direct and "
            f"{stage}.format_rows to 0"
        )
    stray = sorted(set(given) - set(examples))
    if stray:
        raise ChainsightError(
            f"{stage}: rationale for {stray[0]!r}, which is not among the examples; give both "
            "artifacts from the same run"
        )


def make_row(
    example: Example,
    mode: Mode,
    answer: str,
    template: Template,
    style: PromptStyle,
    max_length: int,
) -> tuple[Row, int]:
    """Prompt, answer and end-of-turn as token ids, with as many whole exchanges of a conversation
    as `max_length` has room for; and how many there were too many."""
    prompt = student(example, mode, style)
    num_cut, turns = 0, (answer, *example.turns)
    row = template.lesson(prompt, turns)
    while len(row) > max_length and len(turns) > 1:
        num_cut, turns = num_cut + 1, turns[:-2]
        row = template.lesson(prompt, turns)
    return row, num_cut
