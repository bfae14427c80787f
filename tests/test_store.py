"""The store in a folder: all or nothing, one winner, nothing damaged is ever read."""

import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chainsight.errors import ArtifactError, ConfigError, StoreError
from chainsight.store import FileEntry, LocalStore, Manifest, Store, open_store

PROVENANCE = {
    "stage": "prepare",
    "code_version": "1.0",
    "config": {"limit": 7, "datasets": ["bars"]},
    "inputs": {"raw": "/somewhere"},
    "input_digests": {"raw": "00"},
    "metrics": {"num_examples": 7},
    "seconds": 1.5,
}


def written(folder: Path, **files: str) -> Path:
    """Write a stage's output: `a__b="x"` is the file `a/b`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def commit(store: Store, folder: Path, kind: str = "examples", key: str = "k1") -> Manifest:
    return store.commit(folder, kind=kind, key=key, **PROVENANCE)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), tmp_path / "cache")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return written(tmp_path / "output", a="one", deep__er__b="two", empty="")


def flip_a_bit(path: Path, position: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def attempts(store: Store, kind: str = "examples", key: str = "k1") -> list[Path]:
    return sorted(Path(store.artifact_uri(kind, key)).glob("attempt-*"))


# --- what a manifest is ---


def test_a_manifest_of_before_images_is_still_read(store: Store, output: Path) -> None:
    body = json.loads(commit(store, output).to_json())
    assert body.pop("image") == ""
    del body["sha256"]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    old = {**body, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert Manifest.from_json(json.dumps(old)).image == ""


def test_what_is_committed_is_found_fetched_and_listed(store: Store, output: Path) -> None:
    manifest = commit(store, output)
    assert store.find("examples", "k1") == manifest
    assert store.load(store.artifact_uri("examples", "k1")) == manifest
    assert list(store.list("examples")) == [manifest]
    folder = store.fetch(manifest)
    assert folder == store.fetch(store.artifact_uri("examples", "k1"))
    assert (folder / "deep/er/b").read_text() == "two"
    assert [entry.path for entry in manifest.files] == ["a", "deep/er/b", "empty"]
    assert (manifest.stage, manifest.config["limit"], manifest.seconds) == ("prepare", 7, 1.5)


def test_a_light_look_leaves_weights_unread(store: Store, output: Path) -> None:
    (output / "model.safetensors").write_bytes(b"weights")
    manifest = commit(store, output)
    weights = store.fetch_light(manifest) / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"changed")
    store.fetch_light(manifest)
    with pytest.raises(StoreError, match=r"model\.safetensors"):
        store.fetch(manifest)


def test_nothing_is_found_where_nothing_was_committed(store: Store) -> None:
    assert store.find("examples", "k1") is None
    assert list(store.list("examples")) == []
    with pytest.raises(StoreError, match="no such artifact; run the stage that writes examples"):
        store.load(store.artifact_uri("examples", "k1"))


def test_artifacts_are_listed_oldest_first_and_by_kind(store: Store, tmp_path: Path) -> None:
    for key in ("k9", "k1", "k5"):
        commit(store, written(tmp_path / key, a=key), key=key)
    commit(store, written(tmp_path / "other", a="x"), kind="pairs")
    assert [manifest.key for manifest in store.list("examples")] == ["k9", "k1", "k5"]


def test_equal_content_has_an_equal_digest_whatever_else_differs(
    store: Store, tmp_path: Path
) -> None:
    first = commit(store, written(tmp_path / "1", b="2", a="1"), key="k1")
    second = commit(store, written(tmp_path / "2", a="1", b="2"), key="k2")
    other_text = commit(store, written(tmp_path / "3", a="1", b="3"), key="k3")
    other_name = commit(store, written(tmp_path / "4", a="1", c="2"), key="k4")
    assert first.content_digest == second.content_digest
    assert len({item.content_digest for item in (first, other_text, other_name)}) == 3


def test_a_manifest_survives_json_and_none_of_its_characters_can_change(
    store: Store, output: Path
) -> None:
    manifest = commit(store, output)
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    for position, character in enumerate(text.rstrip()):
        if character.isalnum():
            damaged = text[:position] + chr(ord(character) ^ 1) + text[position + 1 :]
            with pytest.raises(StoreError):
                Manifest.from_json(damaged)


def test_a_metric_that_is_no_number_is_null_in_json_and_nan_when_read(
    store: Store, output: Path
) -> None:
    manifest = store.commit(
        output, kind="a", key="b", **PROVENANCE | {"metrics": {"x": math.inf, "y": 2}}
    )
    assert math.isnan(manifest.metrics["x"])
    assert manifest.metrics["y"] == 2.0
    assert json.loads(manifest.to_json())["metrics"] == {"x": None, "y": 2.0}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", "", "a\\b", "a\nb", "."])
def test_a_manifest_cannot_lead_out_of_its_folder(store: Store, output: Path, path: str) -> None:
    manifest = commit(store, output)
    evil = dataclasses.replace(manifest, files=(FileEntry(path, 1, "0" * 64),))
    with pytest.raises(StoreError, match="must stay below its folder"):
        Manifest.from_json(evil.to_json())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', b"\xff", "null"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(StoreError):
        Manifest.from_json(text)


def test_a_manifest_with_an_unknown_or_a_missing_field_is_refused(
    store: Store, output: Path
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Later(Manifest):
        colour: str = "blue"

    later = Later(**{f.name: getattr(commit(store, output), f.name) for f in _fields(Manifest)})
    with pytest.raises(StoreError, match="field colour"):
        Manifest.from_json(later.to_json())


def _fields(kind: type[Manifest]) -> tuple[dataclasses.Field[object], ...]:
    return dataclasses.fields(kind)


# --- what may be committed ---


def test_a_link_in_the_output_is_refused_and_leaves_nothing(store: Store, output: Path) -> None:
    (output / "link").symlink_to(output / "a")
    with pytest.raises(StoreError, match="link: an artifact holds plain files only"):
        commit(store, output)
    assert attempts(store) == []


def test_an_output_without_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "output" / "folder").mkdir(parents=True)
    with pytest.raises(StoreError, match="wrote no file"):
        commit(store, tmp_path / "output")


@pytest.mark.parametrize("key", ["", "..", "a/b", ".hidden", "a b", "x" * 129])
def test_a_key_must_be_a_plain_name(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="cannot name an artifact"):
        store.find("examples", key)


def test_stored_files_cannot_be_written_and_ignore_other_names_of_their_source(
    store: Store, output: Path
) -> None:
    os.link(output / "a", output.parent / "cached elsewhere")
    folder = store.fetch(commit(store, output))
    (output.parent / "cached elsewhere").write_text("changed")
    assert (folder / "a").read_text() == "one"
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.rglob("*") if path.is_file())


# --- one winner ---


def test_a_second_commit_gets_the_first_one(store: Store, output: Path, tmp_path: Path) -> None:
    first = commit(store, output)
    assert commit(store, written(tmp_path / "later", a="other")) == first
    assert len(attempts(store)) == 1


def _race(uri: str, folder: Path, start: float, results: "multiprocessing.Queue[str]") -> None:
    store = open_store(uri, folder)
    time.sleep(max(0.0, start - time.time()))
    results.put(commit(store, folder).to_json())


def test_of_sixteen_racing_processes_one_wins_and_all_get_its_manifest(
    store: Store, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    start = time.time() + 0.3
    folders = [written(tmp_path / f"output{n}", a=f"from {n}") for n in range(16)]
    racers = [fork.Process(target=_race, args=(store.uri, f, start, results)) for f in folders]
    for racer in racers:
        racer.start()
    manifests = {results.get(timeout=15) for _ in racers}
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 16
    assert manifests == {store.load(store.artifact_uri("examples", "k1")).to_json()}
    assert len(attempts(store)) == 1
    assert (store.fetch(store.artifact_uri("examples", "k1")) / "a").is_file()


# --- killed writers ---

COMMIT_MANY = """
import sys
from pathlib import Path
from chainsight.store import open_store
sys.path.insert(0, sys.argv[3])
from test_store import commit, written
store = open_store(sys.argv[1], Path(sys.argv[2]) / "cache")
for number in range(200):
    folder = written(Path(sys.argv[2]) / f"o{number}", a=f"{number}" * 9, d__b="b" * 300_000)
    commit(store, folder, key=f"{Path(sys.argv[2]).name}-{number}")
    print(number, flush=True)
"""


def killed_writer(uri: str, work: Path, seconds: float) -> None:
    """Start 200 commits in a process of their own and kill it `seconds` after the first one."""
    command = [sys.executable, "-c", COMMIT_MANY, uri, str(work), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


def test_a_killed_writer_leaves_whole_artifacts_only(store: Store, tmp_path: Path) -> None:
    moments = random.Random(7)
    for number in range(6):
        killed_writer(store.uri, tmp_path / f"work{number}", moments.uniform(0, 0.1))
        for manifest in open_store(store.uri, tmp_path).list("examples"):
            folder = store.fetch(manifest)
            assert (folder / "d/b").stat().st_size == 300_000
    committed = list(store.list("examples"))
    assert 6 <= len(committed) < 6 * 200
    store.sweep("examples", older_than=0)
    found = {path.name for path in Path(store.uri).glob("examples/*/attempt-*") if path.is_dir()}
    assert found == {manifest.attempt for manifest in committed}
    assert commit(store, written(tmp_path / "again", a="x"), key="work0-0") in committed


def test_only_old_attempts_that_nobody_published_are_swept(store: Store, output: Path) -> None:
    published = Path(store.fetch(commit(store, output)))
    old, young = (published.with_name(f"attempt-{digit * 32}") for digit in "ab")
    for folder, age in ((old, 86_500), (young, 86_300), (published, 90_000)):
        written(
            folder.parent, **{f"{folder.name}__deep__er__b": "two"} if folder != published else {}
        )
        for path in (folder, folder / "deep", folder / "deep/er"):
            os.utime(path, (time.time() - age,) * 2)
    assert store.sweep("examples") == 1
    assert [path.name for path in attempts(store)] == sorted([young.name, published.name])


def test_a_commit_sweeps_its_kind(store: Store, tmp_path: Path, output: Path) -> None:
    dead = written(Path(store.uri) / "examples" / "k0" / f"attempt-{'a' * 32}", x="x")
    os.utime(dead, (0, 0))
    commit(store, output)
    assert not dead.exists()


# --- damage ---


def test_a_flipped_bit_is_told_with_file_both_digests_and_the_way_out(
    store: Store, output: Path, tmp_path: Path
) -> None:
    manifest = commit(store, output)
    flip_a_bit(attempts(store)[0] / "deep/er/b")
    with pytest.raises(StoreError) as caught:
        store.fetch(manifest)
    expected = manifest.files[1].sha256
    where = store.artifact_uri("examples", "k1")
    assert f"{manifest.attempt}/deep/er/b: expected sha256 {expected}, found " in str(caught.value)
    assert str(caught.value).endswith(f"delete the folder {where} and run again")


def test_a_missing_file_is_told_by_fetch_and_by_the_next_commit(store: Store, output: Path) -> None:
    manifest = commit(store, output)
    (attempts(store)[0] / "a").unlink()
    with pytest.raises(StoreError, match="/a: it is missing"):
        store.fetch(manifest)
    with pytest.raises(StoreError, match="/a: expected 3 bytes, it is missing"):
        commit(store, output)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "/a: expected 3 bytes, it is missing"),
        (lambda path: path.write_text("on"), "/a: expected 3 bytes, found 2 bytes"),
        (lambda path: path.write_text("two"), "/a: expected sha256 .*, found "),
        (lambda path: path.with_name("c").write_text("x"), "/c: this file is not of the artifact"),
    ],
)
def test_verify_reads_every_byte_anew_whatever_was_fetched_before(
    store: Store, output: Path, damage: Callable[[Path], object], words: str
) -> None:
    manifest = commit(store, output)
    store.fetch(manifest)
    assert store.verify(store.artifact_uri("examples", "k1")) == manifest
    path = attempts(store)[0] / "a"
    path.chmod(0o644)
    damage(path)
    with pytest.raises(ArtifactError, match=words):
        store.verify(manifest)


def test_verify_tells_an_artifact_that_is_not_there_or_of_another_store(store: Store) -> None:
    with pytest.raises(ArtifactError, match="there is no such artifact"):
        store.verify(store.artifact_uri("examples", "k1"))
    with pytest.raises(ArtifactError, match="not an artifact of this store"):
        store.verify("s3://elsewhere/examples/k1")


def test_a_file_put_beside_the_artifacts_own_is_refused(store: Store, output: Path) -> None:
    manifest = commit(store, output)
    written(attempts(store)[0], deep__pytorch_model="evil")
    with pytest.raises(StoreError, match="pytorch_model: this file is not of the artifact"):
        store.fetch(manifest)


def test_a_store_object_verifies_once(store: Store, output: Path, tmp_path: Path) -> None:
    manifest = commit(store, output)
    store.fetch(manifest)
    flip_a_bit(attempts(store)[0] / "a")
    store.fetch(manifest)
    with pytest.raises(StoreError, match="expected sha256"):
        open_store(store.uri, tmp_path).fetch(manifest)


def test_a_damaged_or_moved_manifest_is_told_with_the_way_out(store: Store, output: Path) -> None:
    commit(store, output)
    source = Path(store.artifact_uri("examples", "k1"))
    source.rename(source.with_name("k2"))
    with pytest.raises(StoreError, match="is the one of examples/k1; delete the folder"):
        store.find("examples", "k2")
    flip_a_bit(source.with_name("k2") / "manifest.json", 40)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged: .*k2 and run again"):
        store.find("examples", "k2")


def test_a_damaged_neighbour_does_not_stop_a_commit(store: Store, tmp_path: Path) -> None:
    commit(store, written(tmp_path / "1", a="1"), key="k1")
    flip_a_bit(Path(store.artifact_uri("examples", "k1")) / "manifest.json", 40)
    os.utime(attempts(store)[0], (0, 0))
    assert commit(store, written(tmp_path / "2", a="2"), key="k2")
    assert len(attempts(store)) == 1


# --- full disks and wrong addresses ---


def on_a_full_disk(after: int) -> Callable[[Path, Path], None]:
    """Copy `after` files, then let the system itself say that there is no space left."""
    placed = []

    def place(source: Path, target: Path) -> None:
        placed.append(target)
        target.write_bytes(source.read_bytes())
        if len(placed) > after:
            Path("/dev/full").write_bytes(b"x")

    return place


def test_a_full_disk_is_told_with_the_bytes_needed_and_leaves_no_attempt(
    tmp_path: Path, output: Path
) -> None:
    store = LocalStore(tmp_path / "store", place=on_a_full_disk(after=1))
    with pytest.raises(StoreError, match=r"disk of .*store is full: 6 bytes are needed, \d+ are"):
        commit(store, output)
    assert [path.name for path in (tmp_path / "store").rglob("*")] == ["examples", "k1"]
    assert commit(LocalStore(tmp_path / "store"), output)


@pytest.mark.parametrize(
    "uri", ["gs://bucket/x", "http://host/x", "s3://", "s3:///x", "", "file://"]
)
def test_an_address_of_another_kind_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"s3://bucket/prefix"):
        open_store(uri, tmp_path)


def test_a_file_cannot_be_a_store(tmp_path: Path, output: Path) -> None:
    with pytest.raises(StoreError, match="must be a folder, this is a file"):
        open_store(str(output / "a"), tmp_path)


def test_a_file_address_and_a_path_are_the_same_store(tmp_path: Path) -> None:
    assert open_store(f"file://{tmp_path}/my%20store", tmp_path).uri == f"{tmp_path}/my store"


@pytest.mark.parametrize("uri", ["/elsewhere/examples/k1", "{}/examples", "{}/a/b/c", "{}"])
def test_an_address_outside_the_store_is_refused(store: Store, uri: str) -> None:
    with pytest.raises(StoreError, match="not an artifact of this store, expected"):
        store.load(uri.format(store.uri))


def test_a_local_store_does_not_need_boto3() -> None:
    code = "import sys, chainsight.store; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unfinished_work_is_kept_by_name_beside_the_artifacts(
    store: Store, output: Path, tmp_path: Path
) -> None:
    commit(store, output)
    for text in ("first", "second"):  # in place of what was there
        (tmp_path / "file").write_text(text)
        store.put(tmp_path / "file", "work/k1/checkpoint-1/deep/file")
        (tmp_path / "file").unlink()
    store.get("work/k1/checkpoint-1/deep/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "second"
    assert store.names("work/k1") == ("work/k1/checkpoint-1/deep/file",)
    assert list(store.list("work")) == []
    store.drop("work/k1/checkpoint-1/deep/file")
    store.drop("work/k1/checkpoint-1/deep/file")
    assert store.names("work") == ()
    with pytest.raises(StoreError, match="there is no such file"):
        store.get("work/k1/checkpoint-1/deep/file", tmp_path / "back")
    with pytest.raises(StoreError, match="must stay below its folder"):
        store.put(output / "a", "../outside")
    assert store.find("examples", "k1") is not None


def test_of_many_writers_of_one_name_one_creates_it(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda i: store.create("log/0001.json", b"%d" % i), range(16)))
    assert sum(won) == 1
    assert store.read("log/0001.json") == b"%d" % won.index(True)
    assert store.read("log/0002.json") is None
    assert store.names("log") == ("log/0001.json",)
