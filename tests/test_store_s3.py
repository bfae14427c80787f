"""The store in S3: a real server (moto's) on loopback, with a proxy in front that misbehaves."""

import http.client
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

from chainsight.errors import ArtifactError, StoreError
from chainsight.store import Manifest, Store, open_store
from chainsight.store.s3 import S3Store

MIB = 2**20
MANIFEST_1 = "team/run/examples/k1/manifest.json"
Fault = Callable[[str, str], str]


class Proxy(ThreadingHTTPServer):
    """Hands requests on to `upstream`; `fault(method, path)` names what goes wrong.

    "": nothing; "unconditional": If-None-Match is ignored; "reset": cut before the request is
    handed on; "lost": cut after; "truncated": half a body; "503", "409", "501": the answer itself;
    "began <time>": the age of uploads under way.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str, fault: Fault) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.fault = fault
        self.seen: list[tuple[str, str, list[str]]] = []
        self.url = f"http://localhost:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault(self.command, self.path)
        self.server.seen.append((self.command, self.path, [h.lower() for h in self.headers]))
        if fault == "reset":
            self.cut()
        elif fault in ("409", "501", "503"):
            code = {"409": "ConditionalRequestConflict", "501": "NotImplemented", "503": "SlowDown"}
            text = f"<Error><Code>{code[fault]}</Code><Message>no</Message></Error>".encode()
            self.answer(int(fault), {}, text, len(text))
        else:
            self.hand_on(body, fault)

    def hand_on(self, body: bytes, fault: str) -> None:
        headers = dict(self.headers.items())
        if fault == "unconditional":
            headers = {name: v for name, v in headers.items() if name.lower() != "if-none-match"}
        headers.pop("Expect", None)
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        size = int(reply.headers["Content-Length"]) if self.command == "HEAD" else len(data)
        if fault == "lost":
            self.cut()
            return
        if fault.startswith("began "):
            data = re.sub(
                rb"(<Initiated>).*(</Initiated>)", rb"\g<1>%b\2" % fault[6:].encode(), data
            )
            size = len(data)
        if fault == "truncated":
            data = data[: len(data) // 2]
            self.close_connection = True
        self.answer(reply.status, dict(reply.headers.items()), data, size)

    def answer(self, status: int, headers: dict[str, str], data: bytes, size: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815


@cache
def _tester(server: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server,
        region_name="us-east-1",
        aws_access_key_id="tester",
        aws_secret_access_key="secret",
    )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> "Bucket":
    for name, value in {
        "AWS_ENDPOINT_URL_S3": server,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return Bucket(server, f"bucket-{abs(hash(request.node.name))}")


class Bucket:
    """A new bucket, and what a tester does behind the store's back."""

    def __init__(self, server: str, name: str) -> None:
        self.client = _tester(server)
        self.client.create_bucket(Bucket=name)
        self.name = name
        self.uri = f"s3://{name}/team/run"

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [item["Key"] for item in found]

    def flip_a_bit(self, end: str, position: int = 0) -> None:
        (name,) = (name for name in self.names() if name.endswith(end))
        data = bytearray(self.client.get_object(Bucket=self.name, Key=name)["Body"].read())
        data[position] ^= 1
        self.client.put_object(Bucket=self.name, Key=name, Body=bytes(data))


@pytest.fixture
def store(s3: Bucket, tmp_path: Path) -> Store:
    return open_store(s3.uri, tmp_path / "cache")


@pytest.fixture
def proxied(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Fault], Proxy]]:
    """Give a function that puts a misbehaving proxy between the next store and the server."""
    proxies: list[Proxy] = []

    def start(fault: Fault) -> Proxy:
        proxies.append(Proxy(server, fault))
        threading.Thread(target=proxies[-1].serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxies[-1].url)
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.shutdown()
        proxy.server_close()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return written(tmp_path / "output", {"a": b"one", "deep/er/b": b"two", "empty": b""})


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def commit(store: Store, folder: Path, key: str = "k1") -> Manifest:
    return store.commit(
        folder,
        kind="examples",
        key=key,
        stage="prepare",
        code_version="1",
        config={"limit": 7},
        inputs={},
        input_digests={},
        metrics={},
        seconds=1.0,
    )


# --- the same as in a folder ---


def test_what_is_committed_is_found_fetched_and_listed(
    store: Store, s3: Bucket, output: Path
) -> None:
    assert store.find("examples", "k1") is None
    manifest = commit(store, output)
    assert manifest == commit(store, output) == store.load(f"{s3.uri}/examples/k1")
    assert list(store.list("examples")) == [manifest]
    folder = store.fetch(manifest)
    assert [(folder / name).read_text() for name in ("a", "deep/er/b", "empty")] == [
        "one",
        "two",
        "",
    ]
    root = f"team/run/examples/k1/{manifest.attempt}"
    assert s3.names() == [f"{root}/a", f"{root}/deep/er/b", f"{root}/empty", MANIFEST_1]


def test_a_folder_and_s3_give_equal_content_digests(
    store: Store, output: Path, tmp_path: Path
) -> None:
    local = open_store(str(tmp_path / "store"), tmp_path)
    assert commit(store, output).content_digest == commit(local, output).content_digest


def test_a_bucket_can_be_a_store_without_a_prefix(s3: Bucket, tmp_path: Path, output: Path) -> None:
    store = open_store(f"s3://{s3.name}/", tmp_path / "cache")
    assert commit(store, output) == store.load(f"s3://{s3.name}/examples/k1")
    assert s3.names()[-1] == "examples/k1/manifest.json"


def test_a_large_file_goes_up_in_parts(s3: Bucket, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(11 * MIB)
    store = S3Store(s3.name, "", tmp_path / "cache", chunk_bytes=5 * MIB)
    manifest = commit(store, written(tmp_path / "output", {"model": data}))
    assert (store.fetch(manifest) / "model").read_bytes() == data
    name = f"examples/k1/{manifest.attempt}/model"
    head = s3.client.head_object(Bucket=s3.name, Key=name)
    assert head["ETag"].endswith('-3"')
    assert head["Metadata"] == {"sha256": manifest.files[0].sha256}


# --- one winner, nothing torn ---


def test_of_sixteen_racing_threads_one_wins_and_all_get_its_manifest(
    s3: Bucket, tmp_path: Path
) -> None:
    start = threading.Barrier(16)
    stores = [S3Store(s3.name, "", tmp_path / "cache") for _ in range(4)]

    def race(number: int) -> str:
        folder = written(tmp_path / f"output{number}", {"a": b"from %d" % number})
        store = stores[number % 4]
        start.wait(timeout=20)
        return commit(store, folder).to_json()

    with ThreadPoolExecutor(16) as pool:
        manifests = set(pool.map(race, range(16)))
    winner = S3Store(s3.name, "", tmp_path).load(f"s3://{s3.name}/examples/k1")
    assert manifests == {winner.to_json()}
    assert s3.names() == [f"examples/k1/{winner.attempt}/a", "examples/k1/manifest.json"]


def test_many_readers_share_one_cache(store: Store, s3: Bucket, tmp_path: Path) -> None:
    manifest = commit(store, written(tmp_path / "output", {"a": b"a" * MIB, "b": b"b"}))
    stores = [S3Store(s3.name, "team/run", tmp_path / "cache") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        (folder,) = set(pool.map(lambda each: each.fetch(manifest), stores))
    assert (folder / "a").read_bytes() == b"a" * MIB
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["examples"]


def test_a_writer_whose_answer_got_lost_has_still_won(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, output: Path
) -> None:
    faults = ["lost"]
    proxy = proxied(lambda method, path: _once(faults, method == "PUT" and "manifest" in path))
    store = open_store(s3.uri, tmp_path / "cache")
    manifest = commit(store, output)
    assert faults == []
    assert (store.fetch(manifest) / "a").read_text() == "one"
    puts = [path for method, path, _ in proxy.seen if method == "PUT" and "manifest" in path]
    assert len(puts) == 2  # the second was refused because of the first


def test_a_manifest_cut_on_the_way_is_read_again(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, output: Path
) -> None:
    manifest = commit(open_store(s3.uri, tmp_path / "cache"), output)
    faults = ["truncated", "truncated"]
    proxied(lambda method, path: _once(faults, method == "GET" and "manifest" in path))
    assert open_store(s3.uri, tmp_path / "cache").find("examples", "k1") == manifest
    assert faults == []


def test_a_conflict_with_another_writer_is_tried_again(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, output: Path
) -> None:
    faults = ["409", "409"]
    proxied(lambda method, path: _once(faults, method == "PUT" and "manifest" in path))
    assert commit(open_store(s3.uri, tmp_path / "cache"), output)
    assert faults == []
    assert s3.names()[-1].endswith("manifest.json")


def _once(faults: list[str], applies: bool) -> str:
    return faults.pop() if applies and faults else ""


COMMIT_LARGE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_store_s3 import MIB, S3Store, commit, written
store = S3Store(sys.argv[1], "", Path(sys.argv[2]) / "cache", chunk_bytes=5 * MIB)
for number in range(20):
    files = {"a": b"a%d" % number, "model": b"%d" % (number % 10) * 6 * MIB}
    folder = written(Path(sys.argv[2]) / f"output{number}", files)
    print(number, flush=True)
    commit(store, folder, key=f"k{number}")
"""


def test_a_killed_writer_leaves_whole_artifacts_only(s3: Bucket, tmp_path: Path) -> None:
    moments = random.Random(3)
    for number in range(3):
        work = tmp_path / f"work{number}"
        command = [
            sys.executable,
            "-c",
            COMMIT_LARGE,
            s3.name,
            str(work),
            str(Path(__file__).parent),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline()
            time.sleep(moments.uniform(0.05, 0.6))
            process.send_signal(signal.SIGKILL)
    store = S3Store(s3.name, "", tmp_path / "cache")
    committed = list(store.list("examples"))
    for manifest in committed:
        assert (store.fetch(manifest) / "model").stat().st_size == 6 * MIB
    store.sweep("examples", older_than=0)
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.name)
    kept = {name.split("/")[2] for name in s3.names()}
    assert kept == {*(item.attempt for item in committed)} | (
        {"manifest.json"} if committed else set()
    )


@pytest.mark.parametrize(("hours", "num_swept"), [(23, 0), (25, 1)])
def test_an_upload_is_aborted_after_a_day(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, hours: int, num_swept: int
) -> None:
    started = datetime.now(UTC) - timedelta(hours=hours)
    # moto says of every upload that it began in 2010
    proxied(lambda method, path: f"began {started:%FT%T.000Z}" if "?uploads&" in path else "")
    store = open_store(s3.uri, tmp_path / "cache")
    s3.client.create_multipart_upload(Bucket=s3.name, Key="team/run/examples/k/attempt/x")
    assert store.sweep("pairs") == 0
    assert store.sweep("examples") == num_swept
    assert ("Uploads" in s3.client.list_multipart_uploads(Bucket=s3.name)) == (num_swept == 0)


def test_bad_weather_changes_no_byte_and_leaves_no_rest(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path
) -> None:
    numbers = count(1)
    counts = Counter[str]()

    def fault(method: str, path: str) -> str:
        number = next(numbers)
        name = "503" if number % 25 == 0 else "reset" if number % 9 == 0 else ""
        name = "truncated" if number % 4 == 0 and method == "GET" else name
        counts[name] += 1
        return name

    proxied(fault)
    store = open_store(s3.uri, tmp_path / "cache")
    for number in range(3):
        data = {f"f{n}": random.Random(number * 9 + n).randbytes(60_000) for n in range(3)}
        manifest = commit(store, written(tmp_path / f"output{number}", data), key=f"k{number}")
        folder = store.fetch(manifest)
        assert {name: (folder / name).read_bytes() for name in data} == data
    assert {"503", "reset", "truncated"} < set(counts)
    assert len(s3.names()) == 3 * 4


def test_a_sweep_reads_no_manifest_of_the_artifacts_that_are_in_order(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, output: Path
) -> None:
    proxy = proxied(lambda method, path: "")
    store = open_store(s3.uri, tmp_path / "cache")
    kept = [commit(store, output, key) for key in ("k1", "k2")]
    dead = f"team/run/examples/k2/attempt-{'a' * 32}/x"
    s3.client.put_object(Bucket=s3.name, Key=dead, Body=b"x")
    proxy.seen.clear()
    assert store.sweep("examples", older_than=0) == 1
    assert list(store.list("examples")) == kept
    assert dead not in s3.names()
    read = [path for method, path, _ in proxy.seen if method == "GET" and "manifest.json" in path]
    assert [path.split("/")[-2] for path in read] == ["k2", "k2", "k1", "k2"]  # sweep, then list


# --- what other stores than Amazon's understand ---


def test_requests_use_paths_and_no_checksums_that_others_refuse(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, output: Path
) -> None:
    proxy = proxied(lambda method, path: "")
    store = open_store(s3.uri, tmp_path / "cache")
    store.fetch(commit(store, output))
    headers = {header for _, _, names in proxy.seen for header in names}
    assert all(path.startswith(f"/{s3.name}") for _, path, _ in proxy.seen)
    assert not {name for name in headers if "checksum" in name or "trailer" in name}
    assert not [path for method, path, _ in proxy.seen if method == "POST"]  # no delete_objects


@pytest.mark.parametrize(("fault", "answer"), [("unconditional", "200"), ("501", "501|NotImpl")])
def test_a_store_without_conditional_writes_is_refused(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, fault: str, answer: str
) -> None:
    proxied(lambda method, path: fault if method == "PUT" else "")
    with pytest.raises(StoreError, match=f"no conditional writes .* answered ({answer})"):
        open_store(s3.uri, tmp_path)
    assert s3.names() == []


def test_opening_a_good_store_leaves_nothing_in_it(store: Store, s3: Bucket) -> None:
    assert s3.names() == []


# --- damage ---


def test_a_flipped_bit_is_told_with_file_both_digests_and_the_way_out(
    store: Store, s3: Bucket, output: Path, tmp_path: Path
) -> None:
    manifest = commit(store, output)
    s3.flip_a_bit("/deep/er/b")
    with pytest.raises(StoreError) as caught:
        store.fetch(manifest)
    text = str(caught.value)
    assert f"{manifest.attempt}/deep/er/b: expected sha256 {manifest.files[1].sha256}, " in text
    assert text.endswith(f"delete the folder {s3.uri}/examples/k1 and run again")
    assert list((tmp_path / "cache").glob("**/*")) == []


def test_verify_reads_every_byte_in_the_bucket_and_keeps_none(
    store: Store, s3: Bucket, output: Path, tmp_path: Path
) -> None:
    manifest = commit(store, output)
    store.fetch(manifest)  # a good local copy, which is not asked
    before = sorted(tmp_path.rglob("*"))
    assert store.verify(store.artifact_uri("examples", "k1")) == manifest
    assert sorted(tmp_path.rglob("*")) == before
    s3.flip_a_bit("/deep/er/b")
    with pytest.raises(ArtifactError, match=r"/deep/er/b: expected sha256 .*, found "):
        store.verify(manifest)
    s3.flip_a_bit("/deep/er/b")
    (name,) = (name for name in s3.names() if name.endswith("/a"))
    s3.client.put_object(Bucket=s3.name, Key=f"{name}.pkl", Body=b"x")
    with pytest.raises(ArtifactError, match=r"/a\.pkl: this file is not of the artifact"):
        store.verify(manifest)
    s3.client.delete_object(Bucket=s3.name, Key=f"{name}.pkl")
    s3.client.delete_object(Bucket=s3.name, Key=name)
    with pytest.raises(ArtifactError, match="/a: expected 3 bytes, it is missing"):
        store.verify(manifest)


def test_verify_reads_a_body_again_that_was_cut(
    s3: Bucket, proxied: Callable[[Fault], Proxy], output: Path, tmp_path: Path
) -> None:
    left = [2]

    def cut(method: str, path: str) -> str:
        if method == "GET" and path.endswith("/deep/er/b") and left[0]:
            left[0] -= 1
            return "truncated"
        return ""

    proxied(cut)
    store = open_store(s3.uri, tmp_path / "cache")
    commit(store, output)
    assert store.verify(store.artifact_uri("examples", "k1"))
    assert left == [0]


def test_a_store_that_is_away_is_no_damage(
    s3: Bucket, proxied: Callable[[Fault], Proxy], output: Path, tmp_path: Path
) -> None:
    denied: list[bool] = []
    proxied(lambda method, path: "501" if denied and "/deep/" in path else "")
    store = open_store(s3.uri, tmp_path / "cache")
    manifest = commit(store, output)
    denied.append(True)
    with pytest.raises(StoreError, match="S3 failed") as caught:
        store.verify(manifest)
    assert not isinstance(caught.value, ArtifactError)


def test_a_missing_file_is_told_by_fetch_and_by_the_next_commit(
    store: Store, s3: Bucket, output: Path
) -> None:
    manifest = commit(store, output)
    s3.client.delete_object(Bucket=s3.name, Key=s3.names()[0])
    with pytest.raises(StoreError, match="/a: it is missing"):
        store.fetch(manifest)
    with pytest.raises(StoreError, match="/a: expected 3 bytes, it is missing"):
        commit(store, output)


def test_a_damaged_manifest_is_told_with_the_way_out(
    store: Store, s3: Bucket, output: Path
) -> None:
    commit(store, output)
    s3.flip_a_bit("manifest.json", 40)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged: .*delete the folder s3://"):
        store.find("examples", "k1")


def test_a_damaged_copy_in_the_cache_is_downloaded_again(
    store: Store, s3: Bucket, output: Path, tmp_path: Path
) -> None:
    manifest = commit(store, output)
    folder = store.fetch(manifest)
    (folder / "a").chmod(0o644)
    (folder / "a").write_text("One")
    again = open_store(s3.uri, tmp_path / "cache")
    assert (again.fetch(manifest) / "a").read_text() == "one"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["examples"]


def test_a_light_look_downloads_no_weights(store: Store, output: Path) -> None:
    (output / "model.safetensors").write_bytes(b"weights")
    manifest = commit(store, output, "k1")
    light, whole = store.fetch_light(manifest), store.fetch(manifest)
    names = {path.name for path in light.iterdir()}
    assert {path.name for path in whole.iterdir()} - names == {"model.safetensors"}


def test_equal_content_is_downloaded_once(
    s3: Bucket, proxied: Callable[[Fault], Proxy], tmp_path: Path, output: Path
) -> None:
    proxy = proxied(lambda method, path: "")
    store = open_store(s3.uri, tmp_path / "cache")
    first, second = commit(store, output, "k1"), commit(store, output, "k2")
    folder = store.fetch(first)
    proxy.seen.clear()
    assert store.fetch(second) == open_store(s3.uri, tmp_path / "cache").fetch(second) == folder
    assert not [path for method, path, _ in proxy.seen if method == "GET"]


# --- errors that say what to do ---


def test_a_missing_bucket_is_told(s3: Bucket, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"s3://nobody-made-it/x: there is no bucket .* create it"):
        open_store("s3://nobody-made-it/x", tmp_path)


def test_a_bucket_that_vanishes_is_told_by_a_commit(store: Store, s3: Bucket, output: Path) -> None:
    s3.client.delete_bucket(Bucket=s3.name)
    with pytest.raises(StoreError, match="there is no bucket"):
        commit(store, output)


def test_missing_credentials_are_told(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="no credentials found; set AWS_ACCESS_KEY_ID"):
        open_store(s3.uri, tmp_path)


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("http://127.0.0.1:9", "cannot be reached .* check AWS_ENDPOINT_URL_S3 and the network"),
        ("not an address", "Invalid endpoint: .* check AWS_ENDPOINT_URL_S3"),
    ],
)
def test_a_wrong_endpoint_is_told(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, told: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(StoreError, match=told):
        open_store(s3.uri, tmp_path)


def test_unfinished_work_is_kept_by_name_beside_the_artifacts(
    store: Store, output: Path, tmp_path: Path
) -> None:
    commit(store, output)
    for text in ("first", "second"):  # in place of what was there
        (tmp_path / "file").write_text(text)
        store.put(tmp_path / "file", "work/k1/checkpoint-1/deep/file")
    store.get("work/k1/checkpoint-1/deep/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "second"
    assert store.names("work/k1") == ("work/k1/checkpoint-1/deep/file",)
    assert store.names("work/k") == ()
    assert list(store.list("work")) == []
    store.drop("work/k1/checkpoint-1/deep/file")
    store.drop("work/k1/checkpoint-1/deep/file")
    assert store.names("work") == ()
    with pytest.raises(StoreError, match="there is no such object"):
        store.get("work/k1/checkpoint-1/deep/file", tmp_path / "back")
    assert store.find("examples", "k1") is not None
