"""What is to be in a batch, written to the shelf before the batch is: nobody creates it twice.

    batches/<teacher digest>/<run key>.json     the intent: its request keys, and who announced it
    batches/<teacher digest>/<run key>.batch    the batch's id at the API
    batches/<teacher digest>/<run key>.ended    its answers are safe, or it never was

Each is created once, put-if-absent, and stays.
"""

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from chainsight.context import Shelf, Turn
from chainsight.store.lease import held, is_gone

TAKE_OVER_SECONDS = 1800.0
"""An intent of another host without a batch for this long is a dead one's: an upload takes less."""
PROCESS = uuid.uuid4().hex
"""Tells this process from an earlier one of its number (in a pod, all are number 1)."""


@dataclass(frozen=True)
class Owner:
    """Who announced an intent, and creates its batch."""

    host: str
    process: int
    nonce: str
    at: float
    """When, in seconds since 1970."""

    @classmethod
    def me(cls) -> "Owner":
        return cls(socket.gethostname(), os.getpid(), PROCESS, time.time())

    def is_dead(self) -> bool:
        """Whether it cannot create the batch any more."""
        me = Owner.me()
        if (self.host, self.process) == (me.host, me.process) and self.nonce != me.nonce:
            return True
        return is_gone(self.host, self.process) or me.at - self.at > TAKE_OVER_SECONDS


@dataclass(frozen=True)
class Intent:
    """A batch as it was cut."""

    run_key: str
    keys: tuple[str, ...]
    """Of its requests."""
    round: int
    """1 for questions that were in no batch before; more where this cut was tried already."""
    sha256: str
    """Of its file."""
    num_bytes: int
    prompt_tokens: int
    """As predicted: what the account's queue counts."""
    owner: Owner

    @property
    def file_name(self) -> str:
        """Under which its file is uploaded, and found again."""
        return f"chainsight-{self.run_key}.jsonl"


def run_key(keys: Sequence[str], turn: int) -> str:
    """The address of a batch: what it asks, and for which time."""
    return hashlib.sha256(json.dumps([turn, *sorted(keys)]).encode()).hexdigest()


class Intents:
    """The intents of one teacher on the shelf. `open` has those that have not ended."""

    def __init__(self, shelf: Shelf, digest: str) -> None:
        self._shelf, self._prefix = shelf, f"batches/{digest}"
        self._names: frozenset[str] = frozenset()
        self._ended: set[str] = set()
        self.open: dict[str, Intent] = {}

    def cutting(self) -> AbstractContextManager[Turn]:
        """Alone among all processes: who cuts sees every intent of those before."""
        return held(self._shelf, f"{self._prefix}/cutting", lasting=True)

    def look(self) -> bool:
        """Read what is on the shelf now; whether others have ended any meanwhile."""
        self._names = frozenset(self._shelf.names(self._prefix))
        ended = {name for name in self._names if name.endswith(".ended")}
        news, self._ended = ended - self._ended, ended
        keys = {name[len(self._prefix) + 1 : -5] for name in self._names if name.endswith(".json")}
        opened = {key for key in keys if not self.is_ended(key)}
        self.open = {key: self.open.get(key) or self._read(key) for key in sorted(opened)}
        return bool(news)

    def is_ended(self, key: str) -> bool:
        """As of the last look."""
        return self.name(key, "ended") in self._names

    def batch_of(self, key: str) -> str | None:
        """The id of the batch, if it is recorded."""
        recorded = self._shelf.read(self.name(key, "batch"))
        return recorded.decode() if recorded else None

    def announce(self, intent: Intent) -> bool:
        """Write it, unless the same batch was announced before."""
        free = self._shelf.create(
            self.name(intent.run_key, "json"), json.dumps(asdict(intent)).encode()
        )
        if free:
            self.open[intent.run_key] = intent
        return free

    def is_over(self, key: str) -> bool:
        """Whether the intent was ended by now."""
        return self._shelf.read(self.name(key, "ended")) is not None

    def is_off(self, key: str) -> bool:
        """Whether the intent was ended, or its batch recorded, by now."""
        return self.is_over(key) or self.batch_of(key) is not None

    def record(self, key: str, batch_id: str) -> str:
        """Write the batch's id, and give the one that counts: the first that was written."""
        self._shelf.create(self.name(key, "batch"), batch_id.encode())
        return self.batch_of(key) or batch_id

    def end(self, key: str, why: str) -> None:
        """Nothing more will come of this batch."""
        self._shelf.create(self.name(key, "ended"), why.encode())
        self._ended.add(self.name(key, "ended"))
        self.open.pop(key, None)

    def _read(self, key: str) -> Intent:
        read = json.loads(self._shelf.read(self.name(key, "json")) or b"")
        return Intent(**read | {"keys": tuple(read["keys"]), "owner": Owner(**read["owner"])})

    def name(self, key: str, kind: str = "") -> str:
        """Where something about a batch lies on the shelf."""
        return f"{self._prefix}/{key}.{kind}"
