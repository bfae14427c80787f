"""Content-addressed artifacts, committed by their manifest, in a local folder or in S3.

`<store>/<kind>/<key>/manifest.json` is written last and only if absent, so that an artifact is
either whole or not there, and of several writers of one key exactly one wins.
"""

import re
from pathlib import Path
from urllib.parse import unquote

from chainsight.errors import ConfigError
from chainsight.store.base import Store
from chainsight.store.lease import held
from chainsight.store.local import LocalStore
from chainsight.store.manifest import FileEntry, Manifest

__all__ = ["FileEntry", "LocalStore", "Manifest", "Store", "held", "open_store"]


def open_store(uri: str, cache: Path, *, read_only: bool = False) -> Store:
    """Open a folder or `s3://bucket/prefix`; `cache` keeps the local copies of S3's artifacts.

    `read_only` leaves out the try whether it can be written: readers may have no right to.

    ConfigError for an address of another form, StoreError when the store cannot be used.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", uri)
    scheme, rest = (match[1].lower(), match[2]) if match else ("file", uri)
    if scheme not in ("file", "s3") or not rest:
        raise ConfigError(f"store {uri!r}: give a folder or s3://bucket/prefix")
    if scheme == "s3":
        store: Store = _s3_store(uri, rest, cache)
    else:
        store = LocalStore(Path(unquote(rest) if match else rest))
    if not read_only:
        store.probe()
    return store


def _s3_store(uri: str, rest: str, cache: Path) -> Store:
    from chainsight.store.s3 import S3Store

    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise ConfigError(f"store {uri!r} names no bucket: give s3://bucket/prefix")
    return S3Store(bucket, prefix, cache)
