"""Evaluation with a real, tiny model: extraction, scores, resume, reproducibility."""

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from chainsight import evaluation, prompts, records
from chainsight.config import EvaluateSection, ModelSection
from chainsight.context import Context, Task
from chainsight.errors import CheckpointError, ConfigError, RecordError
from chainsight.records import Example, Prediction, Score
from chainsight.stages import evaluate

SHORT = EvaluateSection(max_new_tokens=6, max_direct_tokens=4, batch_size=2)
LETTERS = ("no", "yes")


class KilledError(Exception):
    """Stands for a kill."""


class Counting:
    """A progress that counts answers and can end the work after so many."""

    def __init__(self, allowed: int = 10**9) -> None:
        self.allowed = allowed
        self.advanced = 0
        self.done: dict[str, int] = {}

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        self.done[title] = done
        yield self

    def advance(self, count: int = 1) -> None:
        self.advanced += count
        if self.advanced > self.allowed:
            raise KilledError


@dataclass
class World:
    """Benchmarks of two datasets and places for results."""

    root: Path
    student: Path

    def context(self, progress: Counting | None = None, work: str = "work") -> Context:
        folder = self.root / work
        folder.mkdir(exist_ok=True)
        model = ModelSection(base=str(self.student))
        return Context(work=folder, ledger=folder, model=model, progress=progress or Counting())

    def run(
        self,
        models: Mapping[str, str | Path],
        config: EvaluateSection = SHORT,
        name: str = "out",
        context: Context | None = None,
    ) -> tuple[dict[str, float], Path]:
        """Evaluate, and give the metrics and the folder above predictions and scores."""
        out = self.root / name
        for kind in ("predictions", "scores"):
            (out / kind).mkdir(parents=True, exist_ok=True)
        metrics = evaluation.evaluate_models(
            models,
            benchmarks=self.root / "benchmarks",
            predictions=out / "predictions",
            scores=out / "scores",
            config=config,
            context=context or self.context(),
        )
        return metrics, out

    def write(self, examples: list[Example]) -> None:
        records.write(self.root / "benchmarks" / "benchmarks.parquet", examples, Example)


def rows(out: Path) -> list[Prediction]:
    return list(records.read(out / "predictions" / "predictions.parquet", Prediction))


@pytest.fixture
def world(tmp_path: Path, student_folder: Path, png: Callable[..., bytes]) -> World:
    made = World(tmp_path, student_folder)
    made.write(
        [
            Example(
                id=f"{'ab'[i % 2]}/{i}",
                dataset="ab"[i % 2],
                split="test",
                question=f"What is {i}?",
                references=("A",) if i == 2 else ("4",),
                metric="multiple_choice" if i == 2 else "exact_match",
                images=(png((40 * i, 0, 99), (32, 32)),),
                choices=LETTERS if i == 2 else None,
            )
            for i in range(5)
        ]
    )
    return made


def test_every_model_is_asked_every_question_in_both_modes(world: World) -> None:
    metrics, out = world.run({"base": world.student, "other": str(world.student)})
    found = rows(out)
    assert metrics["num_examples"] == 5
    assert metrics["num_predictions"] == len(found) == 2 * 2 * 5
    assert [(r.model, r.mode) for r in found[::5]] == [
        ("base", "direct"),
        ("base", "cot"),
        ("other", "direct"),
        ("other", "cot"),
    ]
    direct = "What is 0?\nAnswer the question with a short answer."
    assert found[0].question == direct
    assert found[0].prompt == (
        f"<|begin|><|start|>system<|end|>\n{prompts.SYSTEM}<|eot|>"
        f"<|start|>user<|end|>\n<image>\n{direct}<|eot|><|start|>assistant<|end|>\n"
    )
    reason = "What is 0?\nGenerate a reason first and then output a short answer."
    assert found[5].question == reason
    assert found[2].question.startswith("What is 2?\nA. no\nB. yes\n")
    assert max(r.num_tokens for r in found if r.mode == "direct") <= 4
    assert max(r.num_tokens for r in found if r.mode == "cot") == 6
    assert [r.text for r in found[:10]] == [r.text for r in found[10:]]


def test_scores_are_those_of_the_rows(world: World) -> None:
    _, out = world.run({"base": world.student})
    said = {r.example_id: r.answer for r in rows(out) if r.mode == "direct"}
    examples = list(records.read(world.root / "benchmarks" / "benchmarks.parquet", Example))
    right = {i for i in said if said[i] and i != "a/2"}
    world.write([replace(e, references=(said[e.id],)) if e.id in right else e for e in examples])
    metrics, out = world.run(
        {"base": world.student}, name="again", context=world.context(work="w2")
    )
    found = {r.example_id: r.score for r in rows(out) if r.mode == "direct"}
    assert right == {i for i, score in found.items() if score == 1.0} != set()
    scores = list(records.read(out / "scores" / "scores.parquet", Score))
    direct = {s.dataset: s for s in scores if s.mode == "direct"}
    assert direct["a"].value == pytest.approx(len(right & {"a/0", "a/2", "a/4"}) / 3)
    assert direct["a"].metric == "exact_match+multiple_choice"
    assert direct["all"].value == pytest.approx((direct["a"].value + direct["b"].value) / 2)
    summary = json.loads((out / "scores" / "summary.json").read_text())
    assert summary["models"]["base"]["direct"]["value"] == direct["all"].value
    assert summary["models"]["base"]["direct"]["num_examples"] == 5
    assert metrics["base/direct/accuracy"] == direct["all"].value


def test_a_killed_evaluation_goes_on_and_ends_alike(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BLOCK_BATCHES", 1)
    models = {"base": world.student, "other/x": world.student}
    progress = Counting(allowed=17)
    with pytest.raises(KilledError):
        world.run(models, context=world.context(progress))
    resumed = Counting()
    _, out = world.run(models, context=world.context(resumed))
    assert resumed.done == {"evaluate base": 10, "evaluate other/x": 4}
    assert resumed.advanced == 20 - 14
    _, whole = world.run(models, name="whole", context=world.context(work="fresh"))
    for name in ("predictions/predictions.parquet", "scores/scores.parquet", "scores/summary.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_batch_size_and_blocks_change_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BLOCK_BATCHES", 1)  # five blocks, two, one
    found = {}
    for size in (1, 3, 16):
        config = SHORT.model_copy(update={"batch_size": size})
        _, out = world.run(
            {"base": world.student}, config, f"b{size}", world.context(work=f"w{size}")
        )
        files = ("predictions/predictions.parquet", "scores/scores.parquet", "scores/summary.json")
        found[size] = [(out / name).read_bytes() for name in files]
    assert found[1] == found[3] == found[16]


def test_the_order_of_the_questions_changes_no_answer(world: World) -> None:
    _, plain = world.run({"base": world.student}, name="plain", context=world.context(work="w1"))
    (path,) = (world.root / "benchmarks").iterdir()
    examples = list(records.read(path, Example))
    world.write([examples[number] for number in (3, 0, 4, 2, 1)])
    _, other = world.run({"base": world.student}, name="other", context=world.context(work="w2"))
    key = operator.attrgetter("mode", "example_id")
    assert sorted(rows(other), key=key) == sorted(rows(plain), key=key)
    assert [row.example_id for row in rows(other)][:2] == ["b/3", "a/0"]


def test_a_block_that_lacks_a_mode_is_made_again(world: World) -> None:
    _, whole = world.run({"base": world.student})
    (world.root / "work" / "base-cot-00000.parquet").unlink()
    resumed = Counting()
    _, again = world.run({"base": world.student}, name="again", context=world.context(resumed))
    assert resumed.advanced == 10
    assert rows(again) == rows(whole)


def test_the_stage_evaluates_base_policy_and_aligned(world: World) -> None:
    out = world.root / "stage"
    for kind in ("predictions", "scores"):
        (out / kind).mkdir(parents=True)
    config = SHORT.model_copy(update={"modes": ("direct",)})
    evaluate.run(
        config,
        benchmarks=world.root / "benchmarks",
        policy=world.student,
        aligned=world.student,
        predictions=out / "predictions",
        scores=out / "scores",
        context=world.context(),
    )
    assert list(dict.fromkeys(r.model for r in rows(out))) == ["base", "policy", "aligned"]


def test_a_taken_name_is_refused(world: World) -> None:
    config = EvaluateSection(models={"policy": str(world.student)})
    folder = world.root
    with pytest.raises(ConfigError, match="'policy' is the run's own model"):
        evaluate.run(
            config,
            benchmarks=folder,
            policy=folder,
            aligned=folder,
            predictions=folder,
            scores=folder,
            context=world.context(),
        )


def test_the_words_are_the_models_unless_evaluation_has_its_own(world: World) -> None:
    def asked(name: str, own: str | None) -> tuple[set[str], dict[str, str]]:
        context = world.context(work=name)
        model = context.model.model_copy(update={"prompt_style": "vlmevalkit"})
        config = SHORT.model_copy(update={"prompt_style": own, "modes": ("direct",)})
        _, out = world.run({"x": world.student}, config, name, replace(context, model=model))
        summary = json.loads((out / "scores" / "summary.json").read_text())
        return {row.question.partition("\n")[2] for row in rows(out)}, summary

    letter = "A. no\nB. yes\nAnswer with the option's letter from the given choices directly."
    theirs, first = asked("theirs", None)
    assert theirs == {"Answer the question using a single word or phrase.", letter}
    ours, second = asked("ours", "paper")
    assert ours == {"Answer the question with a short answer.", letter}
    assert (first["prompt_style"], second["prompt_style"]) == ("vlmevalkit", "paper")
    assert first["fingerprint"] != second["fingerprint"]


def test_an_empty_benchmark_is_refused(world: World) -> None:
    world.write([])
    with pytest.raises(RecordError, match="no benchmark row"):
        world.run({"base": world.student})


def test_a_model_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        world.run({"x": "./nowhere"})


def test_a_registry_reference_needs_a_registry(world: World) -> None:
    with pytest.raises(ConfigError, match=r"set run\.tracking_uri"):
        world.run({"x": "models:/m@champion"})


def test_a_request_to_be_learned_word_for_word_is_no_benchmark(world: World) -> None:
    (path,) = (world.root / "benchmarks").iterdir()
    first, *others = records.read(path, Example)
    world.write([*others, replace(first, kind="instruct", dataset="geo170k", split="align")])
    with pytest.raises(ConfigError, match="geo170k/align is there to be learned word for word"):
        world.run({"base": world.student})
