"""A store in S3 or in what speaks its language: the only module that imports boto3."""

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from chainsight.errors import StoreError
from chainsight.store.base import ATTEMPT, DAY_SECONDS, Attempt, Store
from chainsight.store.cache import Cache
from chainsight.store.manifest import FileEntry, Manifest, checked_path, sha256_of_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

CHUNK_BYTES = 64 * 2**20
"""Size of one part of an upload; S3 takes 10,000 parts, so 625 GiB per file."""

_NUM_TRIES = 8
_MISSING = ("404", "NoSuchKey")
_DENIED = (
    "401",
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
)
_TAKEN = ("412", "PreconditionFailed")
_CONFLICT = ("409", "ConditionalRequestConflict")
_NOT_OFFERED = ("501", "405", "NotImplemented", "MethodNotAllowed")
_UNREACHABLE = (botocore.exceptions.ConnectionError, HTTPClientError)
_BROKEN_STREAM = (HTTPClientError, botocore.exceptions.IncompleteReadError)


class S3Store(Store):
    """Artifacts below a bucket's prefix; downloaded once into a local cache.

    The credentials need to get, put, delete and list objects. Where they may list multipart
    uploads too, those of killed writers are aborted; elsewhere the bucket's lifecycle does it.
    """

    def __init__(
        self, bucket: str, prefix: str, cache: Path, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self.uri = f"s3://{bucket}/{self._prefix}".rstrip("/")
        self._cache = Cache(cache)
        with self._clear_errors():
            self._session = boto3.session.Session()
            self._client = _client(self._session, num_retries=10)
        self._transfer = TransferConfig(
            multipart_threshold=chunk_bytes,
            multipart_chunksize=chunk_bytes,
            max_concurrency=8,
            num_download_attempts=10,
        )

    def probe(self) -> None:
        """StoreError for a bucket that cannot be written or overwrites in spite of a condition."""
        key = f"{self._prefix}.probe-{uuid.uuid4().hex}"
        with self._clear_errors():
            client = _client(self._session, num_retries=2)  # a wrong address is told within seconds
            codes = [_put_if_absent(client, self._bucket, key, b"probe") for _ in range(2)]
            client.delete_object(Bucket=self._bucket, Key=key)
        if codes[1] not in _TAKEN:
            raise StoreError(
                f"{self.uri}: this store has no conditional writes (a second PUT with "
                f"If-None-Match answered {codes[1] or 200} instead of 412), so two writers could "
                "damage each other's artifacts; choose a store that has them, or a folder"
            )

    def sweep(self, kind: str, older_than: float = DAY_SECONDS) -> int:
        """Delete dead attempts, and abort the multipart uploads that killed writers left."""
        return super().sweep(kind, older_than) + self._abort_uploads(kind, older_than)

    def put(self, path: Path, name: str) -> None:
        key = self._key(checked_path(name))
        with self._clear_errors():
            self._client.upload_file(str(path), self._bucket, key, Config=self._transfer)

    def get(self, name: str, path: Path) -> None:
        key = self._key(checked_path(name))
        with self._clear_errors():
            try:
                self._client.download_file(self._bucket, key, str(path), Config=self._transfer)
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                raise StoreError(f"{self.uri}/{name}: there is no such object") from error

    def create(self, name: str, data: bytes) -> bool:
        key = self._key(checked_path(name))
        for tried in range(_NUM_TRIES):
            with self._clear_errors():
                code = _put_if_absent(self._client, self._bucket, key, data)
            if code not in _CONFLICT:
                # A request that boto3 repeats, as its answer was lost, finds its own object.
                return not code or self.read(name) == data
            time.sleep(0.1 * 2**tried)
        raise StoreError(f"{self.uri}/{name}: writers keep colliding (409); run again")

    def read(self, name: str) -> bytes | None:
        key = self._key(checked_path(name))
        with self._clear_errors():
            for tried in range(_NUM_TRIES):
                try:
                    answer = self._client.get_object(Bucket=self._bucket, Key=key)
                except ClientError as error:
                    if _code(error) in _MISSING:
                        return None
                    raise
                try:
                    return answer["Body"].read()
                except _BROKEN_STREAM:  # boto3 repeats requests, but not the reading of a body
                    if tried == _NUM_TRIES - 1:
                        raise
        raise AssertionError("unreachable")

    def sizes(self, prefix: str) -> dict[str, int]:
        with self._clear_errors():
            found = {
                item["Key"]: item["Size"]
                for item in self._listed(self._key(checked_path(prefix), ""))
            }
        return {name.removeprefix(self._prefix): size for name, size in found.items()}

    def drop(self, name: str) -> None:
        with self._clear_errors():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(checked_path(name)))

    def _read_manifest(self, kind: str, key: str) -> bytes | None:
        return self.read(f"{kind}/{key}/manifest.json")

    def _write_manifest(self, manifest: Manifest) -> None:
        name = f"{manifest.kind}/{manifest.key}/manifest.json"
        self.create(name, manifest.to_json().encode())

    def _upload(self, folder: Path, manifest: Manifest) -> None:
        for entry in manifest.files:
            name = self._key(manifest.kind, manifest.key, manifest.attempt, entry.path)
            with self._clear_errors():
                self._client.upload_file(
                    str(folder / entry.path),
                    self._bucket,
                    name,
                    ExtraArgs={"Metadata": {"sha256": entry.sha256}},
                    Config=self._transfer,
                )
                head = self._client.head_object(Bucket=self._bucket, Key=name)
            found = (head["ContentLength"], head["Metadata"].get("sha256"))
            if found != (entry.size, entry.sha256):
                raise StoreError(
                    f"s3://{self._bucket}/{name}: uploaded {entry.size} bytes with sha256 "
                    f"{entry.sha256}, but the store holds {found}; run again"
                )

    def _discard(self, kind: str, key: str, attempt: str) -> None:
        with self._clear_errors():
            for name, _ in self._objects(self._key(kind, key, attempt, "")):
                # Never delete_objects: it sends a checksum that not every store understands.
                self._client.delete_object(Bucket=self._bucket, Key=name)

    def _fetch(self, manifest: Manifest, files: tuple[FileEntry, ...]) -> Path:
        part = replace(manifest, files=files)
        return self._cache.fetch(part, partial(self._download, manifest))

    def _download(self, manifest: Manifest, entry: FileEntry, target: Path) -> None:
        name = self._key(manifest.kind, manifest.key, manifest.attempt, entry.path)
        for _ in range(2):  # a bit may flip on the way, too
            with self._clear_errors():
                try:
                    self._client.download_file(
                        self._bucket, name, str(target), Config=self._transfer
                    )
                except ClientError as error:
                    if _code(error) not in _MISSING:
                        raise
            if target.is_file() and sha256_of_file(target) == entry.sha256:
                return
        self._verify(manifest, entry, target)

    def _size(self, manifest: Manifest, entry: FileEntry) -> int | None:
        name = self._key(manifest.kind, manifest.key, manifest.attempt, entry.path)
        with self._clear_errors():
            try:
                return self._client.head_object(Bucket=self._bucket, Key=name)["ContentLength"]
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def _sha256(self, manifest: Manifest, entry: FileEntry) -> str:
        name = self._key(manifest.kind, manifest.key, manifest.attempt, entry.path)
        with self._clear_errors():
            for tried in range(_NUM_TRIES):
                try:
                    return self._streamed_sha256(name)
                except _BROKEN_STREAM:  # boto3 repeats requests, but not the reading of a body
                    if tried == _NUM_TRIES - 1:
                        raise
                except ClientError as error:
                    if _code(error) not in _MISSING:
                        raise
                    raise self._damaged_file(manifest, entry, "it is missing") from error
        raise AssertionError("unreachable")

    def _streamed_sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        body = self._client.get_object(Bucket=self._bucket, Key=name)["Body"]
        with closing(body):
            for chunk in body.iter_chunks(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    def _keys(self, kind: str) -> tuple[str, ...]:
        prefix = self._key(kind, "")
        with self._clear_errors():
            names = tuple(name.removeprefix(prefix) for name, _ in self._objects(prefix))
        pairs = (name.split("/") for name in names)
        return tuple(pair[0] for pair in pairs if pair[1:] == ["manifest.json"])

    def _attempts(self, kind: str) -> tuple[Attempt, ...]:
        newest: dict[tuple[str, str], datetime] = {}
        prefix = self._key(kind, "")
        with self._clear_errors():
            for name, modified in self._objects(prefix):
                key, _, rest = name.removeprefix(prefix).partition("/")
                attempt, slash, _ = rest.partition("/")
                if slash and ATTEMPT.fullmatch(attempt):
                    newest[key, attempt] = max(modified, newest.get((key, attempt), modified))
        return tuple(Attempt(kind, *names, _age(moment)) for names, moment in newest.items())

    def _abort_uploads(self, kind: str, older_than: float) -> int:
        num_aborted = 0
        pages = self._client.get_paginator("list_multipart_uploads")
        with self._clear_errors():
            try:
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(kind, "")):
                    for upload in page.get("Uploads", []):
                        if _age(upload["Initiated"]) >= older_than:
                            self._client.abort_multipart_upload(
                                Bucket=self._bucket,
                                Key=upload["Key"],
                                UploadId=upload["UploadId"],
                            )
                            num_aborted += 1
            except ClientError as error:
                # Left to the bucket's lifecycle rule where the store or the role has no listing.
                if _code(error) not in (*_NOT_OFFERED, *_DENIED):
                    raise
        return num_aborted

    def _objects(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        for found in self._listed(prefix):
            yield found["Key"], found["LastModified"]

    def _listed(self, prefix: str) -> Iterator["ObjectTypeDef"]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
            yield from page.get("Contents", [])

    def _key(self, *parts: str) -> str:
        return self._prefix + "/".join(parts)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise StoreError(f"{self.uri}: {_explained(error, self._bucket)}") from error


def _client(session: boto3.session.Session, num_retries: int) -> "S3Client":
    """Connect by the usual AWS_* variables and files, AWS_ENDPOINT_URL_S3 among them."""

    def connect(addressing_style: Literal["auto", "path"]) -> "S3Client":
        config = Config(
            retries={"mode": "adaptive", "max_attempts": num_retries},
            # Other stores than Amazon's often refuse the checksum headers of today's default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=16,
            connect_timeout=10,
            read_timeout=120,
            s3={"addressing_style": addressing_style},
        )
        try:
            return session.client("s3", config=config)
        except ValueError as error:
            raise StoreError(f"S3: {error}; check AWS_ENDPOINT_URL_S3") from error

    client = connect("auto")
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    is_amazon = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return client if is_amazon else connect("path")  # no DNS name per bucket in a cluster


def _put_if_absent(client: "S3Client", bucket: str, key: str, body: bytes) -> str:
    """Write a new object; "" when done, else the code of the refusal."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if _code(error) in (*_TAKEN, *_CONFLICT, *_NOT_OFFERED):
            return _code(error)
        raise
    return ""


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _age(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def _explained(error: Exception, bucket: str) -> str:
    """Say in one sentence what failed and what to do."""
    # An upload's error is wrapped by boto3, the answer of the store stands behind it.
    cause = error if isinstance(error, ClientError) else error.__context__
    code = _code(cause) if isinstance(cause, ClientError) else ""
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; create it or correct the store's address"
    if code in _DENIED:
        return (
            f"access denied ({code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the "
            "profile): they must get, put, delete and list objects"
        )
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
    if isinstance(error, _UNREACHABLE):
        return f"cannot be reached ({error}); check AWS_ENDPOINT_URL_S3 and the network"
    return f"S3 failed ({error}); run again, or check credentials, region and endpoint"
