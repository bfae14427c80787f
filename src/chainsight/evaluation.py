"""Models asked the questions of a benchmark, directly and for a reason: predictions and scores.

Greedy, a question's modes together (`vlm.asking`), so that its prompt is computed once. Every row
keeps its prompt, its text and how its answer was found. Stages `evaluate` and `score` and
`chainsight evaluate --model` come through here, so that equal checkpoints get equal scores.
"""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from chainsight import records, stored
from chainsight.config import EvaluateSection, PromptStyle
from chainsight.context import Context, Task
from chainsight.errors import ConfigError, RecordError
from chainsight.metrics import judging
from chainsight.records import Example, Mode, Prediction, Score
from chainsight.scoring import aggregate, benchmark_fingerprint, flat_metrics, summarize

if TYPE_CHECKING:  # torch comes with them: imported only where a model is asked
    from chainsight.vlm.asking import Reply
    from chainsight.vlm.checkpoint import Loaded

BLOCK_BATCHES = 32
"""Batches whose predictions are kept together: what a kill can cost."""


def evaluate_models(
    models: Mapping[str, str | Path],
    *,
    benchmarks: Path,
    predictions: Path,
    scores: Path,
    config: EvaluateSection,
    context: Context,
) -> dict[str, float]:
    """Evaluate models by name: folders, hub ids, `builtin:tiny`, `models:/NAME@ALIAS`.

    Raises:
        RecordError: no benchmark row.
        CheckpointError, TrackingError: a model is damaged or not found.
    """
    examples = _read(benchmarks)
    sources, paths = _ask_all(models, examples, config, context)
    rows = [row for path in paths for row in records.read(path, Prediction)]
    by_id = {example.id: example for example in examples}
    results = aggregate(rows, by_id)
    records.write(predictions / "predictions.parquet", rows, Prediction)
    records.write(scores / "scores.parquet", results, Score)
    style = _style(config, context)
    summary = summarize(results, benchmark_fingerprint(examples, config, style))
    summary["prompt_style"] = style
    summary["digests"] = {name: s.digest for name, s in sources.items() if s.digest}
    text = json.dumps(summary, indent=1, sort_keys=True) + "\n"
    (scores / "summary.json").write_text(text, encoding="utf-8")
    counts = {"num_examples": float(len(examples)), "num_predictions": float(len(rows))}
    return counts | flat_metrics(results)


def fill_blocks(
    models: Mapping[str, str | Path], benchmarks: Path, config: EvaluateSection, context: Context
) -> None:
    """Make this shard's blocks and leave them in the work folder. Raises as `evaluate_models`."""
    _ask_all(models, _read(benchmarks), config, context)


def _style(config: EvaluateSection, context: Context) -> PromptStyle:
    return config.prompt_style or context.model.prompt_style


def _read(benchmarks: Path) -> list[Example]:
    examples = list(stored.examples(benchmarks / "benchmarks.parquet"))
    if not examples:
        raise RecordError(f"{benchmarks}: no benchmark row; see prepare.benchmarks")
    learned = next((example for example in examples if example.kind == "instruct"), None)
    if learned is not None:
        raise ConfigError(
            f"prepare.benchmarks: {learned.dataset}/{learned.split} is there to be learned word "
            "for word; no answer to it can be scored. Move it to prepare.examples"
        )
    return examples


def _ask_all(
    models: Mapping[str, str | Path],
    examples: Sequence[Example],
    config: EvaluateSection,
    context: Context,
) -> tuple[dict[str, "Source"], list[Path]]:
    """The models' sources, and the files with what they said, in order."""
    sources = {name: _source(name, ref, context) for name, ref in models.items()}
    paths = [
        path
        for name, source in sources.items()
        for path in _evaluate_model(name, source, examples, config, context)
    ]
    return sources, paths


@dataclass(frozen=True)
class Source:
    """Where a model is, settled once: an alias may move while others are evaluated."""

    ref: str | Path
    """What `checkpoint.load` takes, or an artifact's store URI."""
    digest: str | None = None
    """Content digest, by which `register` knows a model again; none for foreign checkpoints."""
    stored: bool = False


@dataclass(frozen=True)
class _Block:
    """Some questions for one model, and the files that keep their predictions, by mode."""

    examples: Sequence[Example]
    paths: Mapping[Mode, Path]

    @property
    def done(self) -> bool:
        return all(path.exists() for path in self.paths.values())

    def __len__(self) -> int:
        return len(self.examples) * len(self.paths)


def _blocks(
    name: str, examples: Sequence[Example], config: EvaluateSection, context: Context
) -> Iterator[_Block]:
    size = config.batch_size * BLOCK_BATCHES
    for number, start in enumerate(range(0, len(examples), size)):
        if context.shard.has(number):
            names = {mode: f"{quote(name, safe='')}-{mode}-{number:05d}" for mode in config.modes}
            paths = {mode: context.work / f"{file}.parquet" for mode, file in names.items()}
            yield _Block(examples[start : start + size], paths)


def _evaluate_model(
    name: str,
    source: Source,
    examples: Sequence[Example],
    config: EvaluateSection,
    context: Context,
) -> list[Path]:
    """The files with the model's predictions, in order; those of a killed run are kept."""
    blocks = list(_blocks(name, examples, config, context))
    todo = [block for block in blocks if not block.done]
    total = sum(map(len, blocks))
    done = total - sum(map(len, todo))
    with context.progress.task(f"evaluate {name}", total, "answers", done=done) as task:
        if todo:
            loaded = _load(source, context)
            _fill(name, loaded, todo, config, task, _style(config, context))
            del loaded
            gc.collect()  # two 8B models do not fit beside each other
    return [block.paths[mode] for mode in config.modes for block in blocks]


def _fill(
    name: str,
    loaded: "Loaded",
    blocks: Sequence[_Block],
    config: EvaluateSection,
    task: Task,
    style: PromptStyle,
) -> None:
    """Ask the questions of all blocks, and keep each block when it is complete."""
    from chainsight.vlm.asking import ask_modes

    longest = {"cot": config.max_new_tokens, "direct": config.max_direct_tokens}
    limits = {mode: longest[mode] for mode in config.modes}
    asked = [(block, example) for block in blocks for example in block.examples]
    made: dict[int, dict[tuple[str, Mode], Prediction]] = {id(block): {} for block in blocks}
    said = ask_modes(
        loaded, (one for _, one in asked), limits, style=style, batch_size=config.batch_size
    )
    for number, mode, reply in said:
        block, example = asked[number]
        rows = made[id(block)]
        rows[example.id, mode] = _judge(name, example, mode, reply)
        task.advance()
        if len(rows) == len(block):
            _keep(block, made.pop(id(block)))


def _keep(block: _Block, made: Mapping[tuple[str, Mode], Prediction]) -> None:
    """Write a block's predictions in the order of its questions."""
    for mode, path in block.paths.items():
        draft = path.with_suffix(".part")
        records.write(draft, [made[example.id, mode] for example in block.examples], Prediction)
        draft.replace(path)


def _judge(name: str, example: Example, mode: Mode, reply: "Reply") -> Prediction:
    answer = reply.reading
    return Prediction(
        model=name,
        example_id=example.id,
        mode=mode,
        prompt=reply.prompt,
        question=reply.question,
        text=reply.text,
        answer=answer.value,
        status=answer.status,
        score=judging.score(example, answer.value),
        num_tokens=reply.num_tokens,
        lenient=judging.lenient(example, answer.value),
    )


def _source(name: str, ref: str | Path, context: Context) -> Source:
    if isinstance(ref, str) and ref.startswith("models:/"):
        return registered(ref, context)
    if name in context.inputs:
        return Source(ref, context.manifest(context.inputs[name]).content_digest)
    return Source(ref)


def registered(ref: str, context: Context) -> Source:
    """The version that `models:/NAME@ALIAS` names now."""
    from chainsight import versions
    from chainsight.tracking import Registry

    if context.tracking_uri is None:
        raise ConfigError(f"{ref}: set run.tracking_uri, the address of the registry")
    version = Registry(context.tracking_uri).resolve(ref)
    uri = versions.artifact(version)
    manifest = context.manifest(uri)
    versions.require_content(version, manifest)
    return Source(uri, manifest.content_digest, stored=True)


def _load(source: Source, context: Context) -> "Loaded":
    from chainsight.vlm import checkpoint, prefix

    model = context.model
    return checkpoint.load(
        context.fetch(str(source.ref)) if source.stored else source.ref,
        revision=model.revision if source.ref == model.base else None,
        dtype=model.dtype,
        attention=prefix.implementation(model.attention),
        fetch=context.fetch,
    )
