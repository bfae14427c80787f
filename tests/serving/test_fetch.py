"""A registered version as a folder for vLLM: verified, whole, and nothing else is touched."""

import json

import boto3
import pytest
import torch
import yaml
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from chainsight.cli import app
from chainsight.config import load_config
from chainsight.errors import CheckpointError, ConfigError, RecordError, StoreError, TrackingError
from chainsight.serving.fetch import place
from chainsight.serving.find import find, persist, reference
from chainsight.store import open_store
from chainsight.tracking import Registry
from chainsight.vlm import checkpoint


@pytest.fixture
def world(make_world, student_folder, tmp_path, request):
    made = make_world(tmp_path, request.node.name)
    made.register(made.save(student_folder, "one"))
    return made


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fetch(world, to, *arguments):
    command = ["fetch", str(world.config), "--to", str(to), "--json", *arguments]
    result = CliRunner().invoke(app, command)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def test_the_champions_files_are_copied_and_verified(world, tmp_path):
    told = fetch(world, tmp_path / "model")
    source = world.store.fetch(world.store.artifact_uri("aligned", "one"))
    assert contents(tmp_path / "model") == contents(source)
    assert told["model"] == f"models:/{world.name}/1"
    assert told["num_files"] == len(contents(source))
    checkpoint.load(tmp_path / "model")


def test_a_second_version_takes_the_place_of_the_first(world, tmp_path, student_folder):
    fetch(world, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()  # as after a kill
    uri = world.save(student_folder, "two", shift=0.1)
    world.register(uri)
    assert fetch(world, tmp_path / "model")["model"] == f"models:/{world.name}/2"
    assert contents(tmp_path / "model") == contents(world.store.fetch(uri))
    assert (
        fetch(world, tmp_path / "model", "--model", f"models:/{world.name}/1")["model"]
        == f"models:/{world.name}/1"
    )


def test_a_folder_with_something_else_is_left_alone(world, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex"):
        fetch(world, tmp_path / "model")
    assert list(contents(tmp_path / "model")) == ["thesis.tex"]


def test_an_adapter_comes_merged(world, tmp_path, student_folder):
    policy = world.store.fetch(world.save(student_folder, "policy"))
    layer = "model.language_model.layers.0.self_attn.q_proj"
    made = checkpoint.Adapter(1, 1.0, {layer: (torch.ones(1, 48), torch.ones(48, 1))})
    uri = world.store.artifact_uri("aligned", "policy")
    on = checkpoint.Base(uri, checkpoint.content_digest(policy, {}), stored=True)
    draft = tmp_path / "draft"
    checkpoint.save_adapter(made, draft, on=on, base="policy", dtype="float32")
    world.register(world.commit(draft, "adapter"))
    fetch(world, tmp_path / "model")
    assert "adapter_config.json" not in contents(tmp_path / "model")
    whole = checkpoint.load(tmp_path / "model").model.state_dict()
    apart = checkpoint.load(draft).model.state_dict()
    assert all(torch.equal(tensor, apart[name]) for name, tensor in whole.items())


def test_a_damaged_file_ends_the_fetch(world, tmp_path):
    path = world.store.fetch(world.store.artifact_uri("aligned", "one")) / "config.json"
    path.chmod(0o644)
    path.write_text("{}")
    with pytest.raises(StoreError, match=r"config\.json"):
        fetch(world, tmp_path / "model")


def test_other_files_than_the_registered_are_refused(world):
    registry = Registry(world.uri)
    version = registry.resolve(f"models:/{world.name}@champion")
    registry.describe(version, {"chainsight.content_digest": "0" * 64}, "")
    config = load_config(world.config)
    with pytest.raises(CheckpointError, match="registered with the content digest 000"):
        find(config, f"models:/{world.name}@champion")


def test_a_version_of_others_is_refused(world):
    made = Registry(world.uri).create(world.name, "s3://x/y", run_id=None, tags={}, description="")
    with pytest.raises(RecordError, match=r"has no tag chainsight\.aligned_uri"):
        find(load_config(world.config), made.uri)


def test_which_model_is_served(world, monkeypatch):
    config = load_config(world.config)
    monkeypatch.delenv("CHAINSIGHT_MODEL", raising=False)
    assert reference(config, None) == f"models:/{world.name}@champion"
    apart = load_config(world.config, {"promotion.production_name": "live"})
    assert reference(apart, None) == "models:/live@champion"
    monkeypatch.setenv("CHAINSIGHT_MODEL", "models:/toy/7")
    assert reference(apart, None) == "models:/toy/7"
    assert reference(apart, "models:/toy/8") == "models:/toy/8"


def test_a_missing_champion_is_waited_for_with_a_line_each_time():
    said, slept, left = [], [], [TrackingError("none yet")] * 6

    def attempt():
        if left:
            raise left.pop()
        return "here"

    assert persist(attempt, say=said.append, sleep=slept.append) == "here"
    assert slept == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert said[0] == "none yet; trying again in 2 s"
    with pytest.raises(StoreError):
        persist(lambda: (_ for _ in ()).throw(StoreError("x")), say=said.append, sleep=slept.append)


def test_from_s3_the_files_are_moved_into_place(world, tmp_path, monkeypatch):
    """Downloaded on the folder's own disk, for a checkpoint does not fit there twice."""
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="models")
        store = open_store("s3://models/run", tmp_path / "cache")
        source = world.store.fetch(world.store.artifact_uri("aligned", "one"))
        wanted = contents(source)
        nothing = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}, "seconds": 0.0}
        draft = tmp_path / "draft"
        (tmp_path / "draft-one").rename(draft)
        store.commit(draft, kind="aligned", key="k", stage="dpo", code_version="t", **nothing)
        content = yaml.safe_load(world.config.read_text())
        content["run"]["store"] = "s3://models/run"
        world.config.write_text(yaml.safe_dump(content))
        manifest = store.load("s3://models/run/aligned/k")
        tags = {"chainsight.aligned_uri": "s3://models/run/aligned/k"}
        tags["chainsight.content_digest"] = manifest.content_digest
        registry = Registry(world.uri)
        made = registry.create(world.name, "s3://models/x", run_id=None, tags=tags, description="")
        registry.set_alias(made, "champion")
        assert fetch(world, tmp_path / "model")["model"] == f"models:/{world.name}/2"
        assert contents(tmp_path / "model") == wanted
        found = find(load_config(world.config), f"models:/{world.name}@champion")
        assert place(found, tmp_path / "other", dtype="float32") == len(wanted)
    finally:
        server.stop()
