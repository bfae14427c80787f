"""`mlflow.pyfunc.load_model` on a registered checkpoint: real files, a real registry in SQLite."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd  # type: ignore[import-untyped]
import pytest
import yaml
from PIL import Image

from chainsight import evaluation, pyfunc, records
from chainsight.config import EvaluateSection, ModelSection
from chainsight.context import Context
from chainsight.errors import CheckpointError, ConfigError, RecordError
from chainsight.records import Example, Prediction
from chainsight.store import LocalStore
from chainsight.tracking import CHAMPION, Registry
from chainsight.vlm import checkpoint

Png = Callable[..., bytes]
QUESTIONS = ("What is red?", "How many bars are there?", "Which one?")
CHOICES = (None, None, ["no", "yes"])
SHORT = {"max_new_tokens": 6}


@pytest.fixture(scope="session")
def saved(student_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student as `checkpoint.save` writes it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    checkpoint.save(checkpoint.load(student_folder), folder, base="random")
    return folder


@pytest.fixture(scope="session")
def answerer(saved: Path) -> pyfunc.Answerer:
    return pyfunc._load_pyfunc(str(saved))


@pytest.fixture
def pictures(png: Png) -> list[bytes]:
    return [png(colour) for colour in ("red", "blue", "green")]


def frame(images: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"image": images, "question": QUESTIONS, "choices": CHOICES})


def evaluated(
    store: LocalStore, uri: str, images: list[bytes], root: Path
) -> dict[str, pd.DataFrame]:
    """What the stage `evaluate` reads in the answers to the same questions, by mode."""
    examples = [
        Example(
            id=f"toy/{i}",
            dataset="toy",
            split="test",
            question=question,
            references=("A",),
            metric="multiple_choice" if CHOICES[i] else "exact_match",
            images=(images[i],),
            choices=tuple(CHOICES[i] or ()) or None,
        )
        for i, question in enumerate(QUESTIONS)
    ]
    for kind in ("benchmarks", "predictions", "scores", "work"):
        (root / kind).mkdir(parents=True)
    records.write(root / "benchmarks" / "benchmarks.parquet", examples, Example)
    evaluation.evaluate_models(
        {"m": store.fetch(uri)},
        benchmarks=root / "benchmarks",
        predictions=root / "predictions",
        scores=root / "scores",
        config=EvaluateSection(max_new_tokens=6, max_direct_tokens=6, batch_size=2),
        context=Context(work=root / "work", ledger=root, model=ModelSection(), fetch=store.fetch),
    )
    rows = list(records.read(root / "predictions" / "predictions.parquet", Prediction))
    return {
        mode: pd.DataFrame(
            [(row.answer, row.status) for row in rows if row.mode == mode],
            columns=["answer", "status"],
        )
        for mode in ("direct", "cot")
    }


def test_the_model_file_is_sealed_and_equal_for_equal_checkpoints(
    saved: Path, student_folder: Path, tmp_path: Path
) -> None:
    assert "MLmodel" in json.loads((saved / checkpoint.SEAL).read_text())["files"]
    checkpoint.save(checkpoint.load(student_folder), tmp_path / "again", base="random")
    written = (saved / "MLmodel").read_bytes()
    assert (tmp_path / "again" / "MLmodel").read_bytes() == written
    flavor = yaml.safe_load(written)["flavors"]["python_function"]
    assert (flavor["loader_module"], flavor["data"]) == ("chainsight.pyfunc", ".")
    assert checkpoint.fingerprint(saved) == checkpoint.fingerprint(tmp_path / "again")
    (tmp_path / "again" / "MLmodel").write_bytes(written.replace(b"chainsight.pyfunc", b"os"))
    with pytest.raises(CheckpointError, match="MLmodel"):
        checkpoint.verify(tmp_path / "again")


@pytest.mark.parametrize("mode", ["direct", "cot"])
def test_a_picture_may_come_as_bytes_text_path_or_picture(
    answerer: pyfunc.Answerer, pictures: list[bytes], tmp_path: Path, mode: str
) -> None:
    params = {"mode": mode, **SHORT}
    wanted = answerer.predict(frame(list(pictures)), params)
    assert list(wanted.columns) == ["answer", "rationale", "status"]
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for path, data in zip(files, pictures, strict=True):
        path.write_bytes(data)
    text = [base64.b64encode(data).decode() for data in pictures]
    forms: list[list[object]] = [
        [str(path) for path in files],
        list(files),
        list(text),
        [f"data:image/png;base64,{one}" for one in text],
        [Image.open(io.BytesIO(data)) for data in pictures],
    ]
    for images in forms:
        pd.testing.assert_frame_equal(answerer.predict(frame(images), params), wanted)


def test_a_question_may_have_several_pictures(
    answerer: pyfunc.Answerer, pictures: list[bytes]
) -> None:
    red, blue, _ = pictures

    def ask(question: str, *images: object) -> list[str]:
        asked = pd.DataFrame({"image": [list(images)], "question": [question]})
        made = answerer.predict(asked, {"max_new_tokens": 24})
        return list(made["rationale"])

    assert ask("What is red?", red) == list(
        answerer.predict(
            pd.DataFrame({"image": [red], "question": ["What is red?"]}), {"max_new_tokens": 24}
        )["rationale"]
    )
    swapped = ask("Is <image 2> or <image 1> red?", blue, red)
    assert swapped == ask("Is <image 1> or <image 2> red?", red, Image.open(io.BytesIO(blue)))
    assert swapped != ask("Is <image 1> or <image 2> red?", blue, red)
    with pytest.raises(RecordError, match="row 0: image is an empty list"):
        ask("What?")


def test_the_batch_size_changes_no_answer_and_the_index_stays(
    answerer: pyfunc.Answerer, pictures: list[bytes]
) -> None:
    asked = frame(list(pictures)).set_index(pd.Index(["x", "y", "z"]))
    one = answerer.predict(asked, {**SHORT, "batch_size": 1})
    pd.testing.assert_frame_equal(one, answerer.predict(asked, SHORT))
    assert list(one.index) == ["x", "y", "z"]
    assert answerer.predict(asked[:0], SHORT).empty


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"image": "./nowhere.png"}, "row 1: image './nowhere.png' is neither a file"),
        ({"image": 7}, "row 1: image is a int"),
        ({"image": b"no picture"}, "row 1/cot: not an image"),
        ({"question": " "}, "row 1: question is ' '"),
        ({"choices": "ab"}, "row 1: choices is 'ab'"),
    ],
)
def test_a_bad_row_is_named(
    answerer: pyfunc.Answerer, png: Png, row: dict[str, object], named: str
) -> None:
    good: dict[str, object] = {"image": png(), "question": "?", "choices": None}
    with pytest.raises(RecordError) as caught:
        answerer.predict(pd.DataFrame([good, good | row]))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"mode": "loud"}, "mode is 'loud'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
    ],
)
def test_a_bad_parameter_is_named(
    answerer: pyfunc.Answerer, png: Png, params: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        answerer.predict(pd.DataFrame({"image": [png()], "question": ["?"]}), params)


def test_an_unknown_option_is_refused(saved: Path) -> None:
    with pytest.raises(ConfigError, match="unknown 'dtyp'"):
        pyfunc._load_pyfunc(str(saved), {"dtyp": "float32"})


FRESH = """
import json, sys
import mlflow, pandas
where, given = sys.argv[1:]
mlflow.set_tracking_uri(where); mlflow.set_registry_uri(where)
answers = {}
for name in ("full", "adapter"):
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    for mode in ("direct", "cot"):
        for form in ("paths", "bytes"):
            data = pandas.DataFrame(json.loads(given))
            if form == "bytes":
                data["image"] = [open(path, "rb").read() for path in data["image"]]
            made = model.predict(data, params={"mode": mode, "max_new_tokens": 6})
            answers[f"{name}/{mode}/{form}"] = made.to_dict("list")
print(json.dumps(answers))
"""


def test_a_fresh_process_loads_the_champion_and_answers_as_evaluation_does(
    saved: Path, pictures: list[bytes], tmp_path: Path
) -> None:
    """Whole and adapter checkpoints by alias, from their folders in a store."""
    store, where = LocalStore(tmp_path / "a store"), f"sqlite:///{tmp_path}/mlflow.db"
    _save_full(saved, tmp_path / "full")
    _write_adapter(saved, store, tmp_path / "adapter", tmp_path)
    uris = {name: commit(store, tmp_path / name, "aligned", name) for name in ("full", "adapter")}
    registry = Registry(where)
    for name, uri in uris.items():
        files = store.fetch(uri).as_uri()
        made = registry.create(name, files, run_id=None, tags={}, description="")
        registry.set_alias(made, CHAMPION)
    answers = _asked_afresh(where, pictures, tmp_path)
    for name, uri in uris.items():
        wanted = evaluated(store, uri, pictures, tmp_path / "evaluated" / name)
        for mode in ("direct", "cot"):
            for form in ("paths", "bytes"):
                said = answers[f"{name}/{mode}/{form}"]
                assert said["answer"] == list(wanted[mode]["answer"])
                assert said["status"] == list(wanted[mode]["status"])
        again = LocalStore(tmp_path / "a store").fetch(uri)  # unharmed by what MLflow did there
        assert (again / "registered_model_meta").exists()
    assert answers["full/cot/bytes"] != answers["adapter/cot/bytes"]


def _asked_afresh(where: str, pictures: list[bytes], root: Path) -> dict[str, Any]:
    paths = [root / f"{i}.png" for i in range(3)]
    for path, data in zip(paths, pictures, strict=True):
        path.write_bytes(data)
    rows = {"image": [str(p) for p in paths], "question": QUESTIONS, "choices": CHOICES}
    done = subprocess.run(
        [sys.executable, "-c", FRESH, where, json.dumps(rows)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def _save_full(saved: Path, folder: Path) -> None:
    checkpoint.save(checkpoint.load(saved), folder, base="random")


def commit(store: LocalStore, folder: Path, kind: str, key: str = "k") -> str:
    manifest = store.commit(
        folder,
        kind=kind,
        key=key,
        stage="dpo",
        code_version="t",
        config={},
        inputs={},
        input_digests={},
        metrics={},
        seconds=0.0,
    )
    return store.artifact_uri(kind, manifest.key)


def _write_adapter(saved: Path, store: LocalStore, folder: Path, root: Path) -> None:
    """An adapter on a policy in the store, which its loader has to find by itself."""
    import torch

    loaded = checkpoint.load(saved)
    checkpoint.save(loaded, root / "policy", base="random")
    policy = commit(store, root / "policy", "policy")
    name = "model.language_model.layers.0.self_attn.q_proj"
    draws = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 48, generator=draws), torch.randn(48, 2, generator=draws)
    digest = checkpoint.content_digest(store.fetch(policy), {})
    on = checkpoint.Base(policy, digest, stored=True)
    made = checkpoint.Adapter(2, 4.0, {name: (a, b)})
    checkpoint.save_adapter(made, folder, on=on, base="policy", dtype="float32")


def test_a_damaged_checkpoint_is_refused_by_mlflow_too(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    checkpoint.save(checkpoint.load(saved), folder, base="random")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: sha256 differs"):
        mlflow.pyfunc.load_model(str(folder))
