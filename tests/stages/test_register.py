"""Registration against a real store and a real MLflow in SQLite."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import pytest

from chainsight import records
from chainsight.config import EvaluateSection, GateSection, ModelSection, RegisterSection
from chainsight.context import Context
from chainsight.errors import ConfigError, TrackingError
from chainsight.records import Example, Prediction, Score
from chainsight.stages import evaluate, register
from chainsight.store import Manifest, Store, open_store
from chainsight.tracking import NO_TRACKING, Registry, Tracking


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here, each with a model name of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@dataclass
class World:
    """A store, a registry, and the artifacts before `register`."""

    root: Path
    uri: str
    model_name: str
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(str(self.root / "a store"), self.root / "cache")

    def commit(self, kind: str, stage: str, files: Mapping[str, bytes], **inputs: str) -> str:
        """Commit an artifact; its key is derived from nothing but a count."""
        number = len(list(self.root.glob("make-*")))
        folder = self.root / f"make-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        manifest: Manifest = self.store.commit(
            folder,
            kind=kind,
            key=f"{number:064d}",
            stage=stage,
            code_version="test",
            config={},
            inputs=inputs,
            input_digests={},
            metrics={},
            seconds=1.0,
        )
        return self.store.artifact_uri(kind, manifest.key)

    def candidate(
        self,
        weights: bytes,
        scores: list[float],
        *,
        fingerprint: str = "f",
        others: Mapping[str, tuple[str, list[float]]] | None = None,
    ) -> dict[str, str]:
        """An aligned model and its evaluation; `others`: name to (digest, scores)."""
        examples = self.commit("examples", "prepare", {"x": b"examples"})
        policy = self.commit("policy", "sft", {"x": weights}, examples=examples)
        aligned = self.commit("aligned", "dpo", {"w": weights}, examples=examples, policy=policy)
        models = {"aligned": scores, **{name: one[1] for name, one in (others or {}).items()}}
        rows = [
            Prediction(model, f"toy/test/{i:03d}", "cot", "?", "", "", "marker", score, 1)
            for model, values in models.items()
            for i, score in enumerate(values)
        ]
        file = self.root / "predictions.parquet"
        records.write(file, rows, Prediction)
        value = sum(scores) / len(scores)
        figures = {"value": value, "standard_error": 0.1, "num_examples": len(scores)}
        digests = {name: one[0] for name, one in (others or {}).items()}
        summary = {
            "models": {"aligned": {"cot": figures}},
            "fingerprint": fingerprint,
            "digests": digests,
        }
        made = {"aligned": aligned, "policy": policy}
        predictions = self.commit("predictions", "evaluate", {file.name: file.read_bytes()}, **made)
        summary_file = {"summary.json": json.dumps(summary).encode()}
        return {
            "aligned": aligned,
            "predictions": predictions,
            "scores": self.commit("scores", "evaluate", summary_file, **made),
        }

    def context(self, inputs: Mapping[str, str], run_id: str | None = None) -> Context:
        return Context(
            work=self.root,
            ledger=self.root,
            tracking_uri=self.uri,
            run_id=run_id,
            inputs=inputs,
            fetch=self.store.fetch,
            manifest=self.store.load,
        )

    def register(
        self,
        inputs: Mapping[str, str],
        *,
        context: Context | None = None,
        gate: GateSection | None = None,
        promote_first: bool = True,
    ) -> dict[str, object]:
        """Run the stage and give what it wrote."""
        number = len(list(self.root.glob("decision-*")))
        folder = self.root / f"decision-{number}"
        folder.mkdir()
        config = RegisterSection(
            model_name=self.model_name, gate=gate or GateSection(), promote_first=promote_first
        )
        register.run(
            config,
            **{kind: self.store.fetch(where) for kind, where in inputs.items()},
            decision=folder,
            context=context or self.context(inputs),
        )
        written: dict[str, object] = json.loads((folder / "decision.json").read_text())
        return written

    @property
    def registry(self) -> Registry:
        return Registry(self.uri)

    def aliases(self) -> dict[str, int]:
        return self.registry.aliases(self.model_name)


@pytest.fixture
def world(tmp_path: Path, uri: str, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, uri, request.node.name[:100].replace("[", "-").rstrip("]"))


GOOD, BETTER, EQUAL = (
    [1.0] * 10 + [0.0] * 10,
    [1.0] * 18 + [0.0] * 2,
    [0.0] + [1.0] * 10 + [0.0] * 9,
)


def test_the_first_model_becomes_challenger_and_champion(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    decision = world.register(inputs)
    assert decision["passed"]
    assert decision["version"] == 1
    assert decision["aliases"] == ["challenger", "champion"]
    assert world.aliases() == {"challenger": 1, "champion": 1}


def test_the_first_is_not_promoted_if_that_is_switched_off(world: World) -> None:
    world.register(world.candidate(b"one", GOOD), promote_first=False)
    assert world.aliases() == {"challenger": 1}


def test_the_version_refers_to_the_artifact_and_copies_nothing(
    world: World, tmp_path: Path
) -> None:
    inputs = world.candidate(b"weights", GOOD)
    world.register(inputs)
    version = world.registry.version(world.model_name, 1)
    assert version.source.startswith("file:///")
    assert Path(urlparse(version.source).path.replace("%20", " ")) == world.store.fetch(
        inputs["aligned"]
    )
    mlflow.set_tracking_uri(world.uri)
    mlflow.set_registry_uri(world.uri)
    got = mlflow.artifacts.download_artifacts(f"models:/{world.model_name}@champion")
    assert (Path(got) / "w").read_bytes() == b"weights"


def test_the_version_leads_back_to_the_examples(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    world.register(inputs)
    tags = world.registry.version(world.model_name, 1).tags
    for kind in ("aligned", "predictions", "scores"):
        assert tags[f"chainsight.{kind}_uri"] == inputs[kind]
    assert world.store.load(tags["chainsight.examples_uri"]).kind == "examples"
    assert world.store.load(tags["chainsight.policy_uri"]).kind == "policy"
    digest = world.store.load(inputs["aligned"]).content_digest
    assert tags["chainsight.content_digest"] == digest
    assert tags["chainsight.fingerprint"] == "f"
    assert tags["chainsight.gate"] == "passed"
    assert tags["chainsight.cot_accuracy"] == "0.5"


def test_scores_stand_beside_the_version_on_its_run(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    with Tracking(world.uri, "registering").stage("register") as run:
        world.register(inputs, context=world.context(inputs, run.run_id))
    version = world.registry.version(world.model_name, 1)
    assert version.run_id == run.run_id
    metrics = mlflow.MlflowClient(world.uri).get_run(version.run_id).data.metrics
    assert metrics["cot/value"] == 0.5
    assert metrics["gate_passed"] == 1.0


def test_a_better_model_challenges_and_the_champion_stays(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    decision = world.register(world.candidate(b"two", BETTER))
    assert decision["passed"]
    assert (decision["wins"], decision["losses"]) == (8, 0)
    assert world.aliases() == {"challenger": 2, "champion": 1}


def test_an_equal_model_is_registered_without_alias(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    decision = world.register(world.candidate(b"two", EQUAL))
    assert not decision["passed"]
    assert decision["aliases"] == []
    assert "(1 won, 1 lost" in str(decision["reason"])
    assert world.aliases() == {"challenger": 1, "champion": 1}
    tags = world.registry.version(world.model_name, 2).tags
    assert tags["chainsight.gate"] == "refused"


def test_a_killed_registration_ends_as_if_undisturbed(world: World) -> None:
    """The kill comes after the version and before the aliases: a second try finds the version."""
    inputs = world.candidate(b"one", GOOD)
    first = world.register(inputs)
    for alias in ("challenger", "champion"):
        world.registry.delete_alias(world.model_name, alias)
    second = world.register(inputs)
    assert second == first
    assert world.aliases() == {"challenger": 1, "champion": 1}
    assert len(world.registry.versions(world.model_name)) == 1


def test_registering_twice_makes_one_version(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    first = world.register(inputs)
    assert world.register(inputs) == first
    assert len(world.registry.versions(world.model_name)) == 1


def test_the_champion_evaluated_anew_is_refused_and_keeps_its_record(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    before = world.registry.version(world.model_name, 1)
    decision = world.register(world.candidate(b"one", BETTER))
    assert not decision["passed"]
    assert "already registered" in str(decision["reason"])
    assert world.registry.version(world.model_name, 1) == before
    assert world.aliases() == {"challenger": 1, "champion": 1}


def test_a_refused_model_is_judged_anew_by_another_gate(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    inputs = world.candidate(b"two", [1.0] * 13 + [0.0] * 7)
    assert not world.register(inputs)["passed"]
    decision = world.register(inputs, gate=GateSection(confidence=0.8))
    assert decision["passed"]
    assert decision["version"] == 2
    assert world.aliases() == {"challenger": 2, "champion": 1}
    tags = world.registry.version(world.model_name, 2).tags
    assert tags["chainsight.gate"] == "passed"


def test_another_benchmark_is_refused(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    decision = world.register(world.candidate(b"two", BETTER, fingerprint="g"))
    assert not decision["passed"]
    assert "fingerprint g against the champion's f" in str(decision["reason"])


def test_a_champion_evaluated_beside_the_candidate_is_compared_on_the_new_benchmark(
    world: World,
) -> None:
    """The way out that the refusal names."""
    first = world.candidate(b"one", GOOD)
    world.register(first)
    digest = world.store.load(first["aligned"]).content_digest
    beside = {"champion": (digest, EQUAL)}
    decision = world.register(world.candidate(b"two", BETTER, fingerprint="g", others=beside))
    assert decision["passed"]
    assert decision["champion_value"] == 0.5


def test_a_mode_that_was_not_evaluated_is_refused(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    with pytest.raises(ConfigError, match=r"register\.gate\.mode is direct"):
        world.register(inputs, gate=GateSection(mode="direct"))


@pytest.mark.parametrize(("address", "error"), [(None, ConfigError), (NO_TRACKING, TrackingError)])
def test_without_a_registry_there_is_a_clear_error(
    world: World, address: str | None, error: type[Exception]
) -> None:
    inputs = world.candidate(b"one", GOOD)
    context = replace(world.context(inputs), tracking_uri=address)
    with pytest.raises(error, match="tracking_uri"):
        world.register(inputs, context=context)


def test_the_champion_reproduces_its_registered_score(
    world: World, student_folder: Path, png: Callable[..., bytes]
) -> None:
    """From real weights through evaluation and registry to `models:/NAME@champion`."""
    examples = [
        Example(f"toy/{i}", "toy", "test", f"What is {i}?", ("1",), "exact_match", png((9, i, i)))
        for i in range(4)
    ]
    benchmarks = world.root / "benchmarks"
    records.write(benchmarks / "benchmarks.parquet", examples, Example)
    config = EvaluateSection(
        modes=("cot", "direct"), max_new_tokens=5, max_direct_tokens=5, batch_size=2
    )
    files = {path.name: path.read_bytes() for path in student_folder.iterdir()}
    aligned = world.commit("aligned", "dpo", files)

    def evaluated(models: dict[str, str | Path], name: str) -> Path:
        out = world.root / name
        for kind in ("predictions", "scores", "work"):
            (out / kind).mkdir(parents=True)
        base = ModelSection(base=str(student_folder))
        context = replace(world.context({"aligned": aligned}), work=out / "work", model=base)
        evaluate.evaluate_models(
            models,
            benchmarks=benchmarks,
            predictions=out / "predictions",
            scores=out / "scores",
            config=config,
            context=context,
        )
        return out

    out = evaluated({"aligned": world.store.fetch(aligned)}, "first")
    inputs = {"aligned": aligned}
    for kind in ("predictions", "scores"):
        made = {path.name: path.read_bytes() for path in (out / kind).iterdir()}
        inputs[kind] = world.commit(kind, "evaluate", made, aligned=aligned)
    world.register(inputs, gate=GateSection(max_unparsed_rate=1.0))  # it never learnt the marker

    again = evaluated({"aligned": f"models:/{world.model_name}@champion"}, "again")
    for name in ("predictions/predictions.parquet", "scores/scores.parquet", "scores/summary.json"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    scores = list(records.read(again / "scores" / "scores.parquet", Score))
    tags = world.registry.version(world.model_name, 1).tags
    assert repr(scores[0].value) == tags["chainsight.cot_accuracy"]
