"""Registration against a real store and a real MLflow in SQLite."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import pytest
from registering import BETTER, EQUAL, GOOD, World

from chainsight import evaluation, records
from chainsight.config import EvaluateSection, GateSection, ModelSection
from chainsight.errors import ConfigError, TrackingError
from chainsight.gate import Decision
from chainsight.records import Example, Score
from chainsight.tracking import NO_TRACKING, OVERRIDE, Tracking


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here, each with a model name of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def world(tmp_path: Path, uri: str, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, uri, request.node.name[:100].replace("[", "-").rstrip("]"))


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


def test_the_version_says_what_it_was_made_with(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    tags = world.registry.version(world.model_name, 1).tags
    expected = {
        "run": "demo",
        "pipeline": "chainsight-train",
        "pipeline_run": "run-7",
        "teacher": "gpt-4o-2024-05-13",
        "teacher_cost_usd": "1.25",
        "base_model": "builtin:tiny",
        "base_digest": "b" * 64,
        "code_version": "test",
        "image.dpo": "team/dpo@sha256:0",
        "image.distill": "team/distill@sha256:0",
    }
    assert {name: tags.get(f"chainsight.{name}") for name in expected} == expected
    examples = world.store.load(tags["chainsight.examples_uri"])
    assert tags["chainsight.examples_digest"] == examples.content_digest
    assert len(tags["chainsight.config_digest"]) == 64
    assert Decision.from_json(json.dumps(json.loads(tags["chainsight.decision"])["decision"]))


def test_the_model_card_is_the_description_and_a_file(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    with Tracking(world.uri, "carding").stage("register") as run:
        world.register(inputs, context=world.context(inputs, run.run_id))
    version = world.registry.version(world.model_name, 1)
    card = (world.root / "decision-0" / "model_card.md").read_text(encoding="utf-8")
    assert version.description == card  # short enough to be whole
    assert f"models:/{world.model_name}@champion" in card
    client = mlflow.MlflowClient(world.uri)
    assert [file.path for file in client.list_artifacts(version.run_id)] == ["model_card.md"]


def test_scores_stand_beside_the_version_on_its_run(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    with Tracking(world.uri, "registering").stage("register") as run:
        world.register(inputs, context=world.context(inputs, run.run_id))
    version = world.registry.version(world.model_name, 1)
    assert version.run_id == run.run_id
    metrics = mlflow.MlflowClient(world.uri).get_run(version.run_id).data.metrics
    assert metrics["cot/value"] == 0.5
    assert metrics["cot/toy/value"] == 0.5
    assert metrics["cot/toy/marker_rate"] == 1.0
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


def test_what_people_added_to_a_version_survives_another_gate(world: World) -> None:
    world.register(world.candidate(b"one", GOOD))
    inputs = world.candidate(b"two", [1.0] * 13 + [0.0] * 7)
    world.register(inputs)
    version = world.registry.version(world.model_name, 2)
    world.registry.tag(version, OVERRIDE, "the board wants it")
    world.register(inputs, gate=GateSection(confidence=0.8))
    assert world.registry.version(world.model_name, 2).tags[OVERRIDE] == "the board wants it"


def test_the_alias_challenger_never_moves_back(world: World) -> None:
    """A finished registration whose artifact was deleted is run again, long after."""
    world.register(world.candidate(b"one", GOOD))
    second = world.candidate(b"two", BETTER)
    world.register(second)
    world.register(world.candidate(b"three", [1.0] * 19 + [0.0]))
    assert world.aliases() == {"challenger": 3, "champion": 1}
    world.register(second)
    assert world.aliases() == {"challenger": 3, "champion": 1}


def test_the_champion_may_live_in_another_registered_model(world: World) -> None:
    """Trainers may not edit production: they compare with it and leave its alias alone."""
    production = f"{world.model_name}-prod"
    first = world.candidate(b"one", GOOD)
    assert world.register(first, champion_name=production)["aliases"] == ["challenger"]
    version = world.registry.version(world.model_name, 1)
    copied = world.registry.create(
        production, version.uri, run_id=None, tags=version.tags, description=""
    )
    world.registry.set_alias(copied, "champion")
    itself = world.register(world.candidate(b"one", BETTER), champion_name=production)
    assert "the champion itself" in itself["reason"]
    worse = world.register(world.candidate(b"two", EQUAL), champion_name=production)
    assert not worse["passed"]
    better = world.register(world.candidate(b"three", BETTER), champion_name=production)
    assert better["passed"]
    assert world.aliases() == {"challenger": 3}
    assert world.registry.aliases(production) == {"champion": 1}


def test_a_twin_with_an_alias_is_not_deleted_in_silence(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)
    world.register(inputs)
    first = world.registry.version(world.model_name, 1)
    twin = world.registry.create(
        world.model_name, first.source, run_id=None, tags=first.tags, description=""
    )
    world.registry.set_alias(twin, "mine")
    with pytest.raises(TrackingError, match=r"bears the alias 'mine'; move the alias to 1"):
        world.register(inputs)
    world.registry.set_alias(first, "mine")
    world.register(inputs)
    assert [v.number for v in world.registry.versions(world.model_name)] == [1]


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
        Example(
            f"toy/{i}", "toy", "test", f"What is {i}?", ("1",), "exact_match", (png((9, i, i)),)
        )
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
        evaluation.evaluate_models(
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
