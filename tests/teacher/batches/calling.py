"""One call of batch mode against a teacher over a real socket, in this process or another."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chainsight.config import DistillSection
from chainsight.context import Shelf
from chainsight.demo import teacher
from chainsight.errors import ChainsightError
from chainsight.records import Example
from chainsight.store import LocalStore
from chainsight.teacher import batches
from chainsight.teacher.asked import Asked
from chainsight.teacher.cost import budget_of, price_of
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.ledger import open_ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question, first, request_key

KEY = "sk-planted-0123456789abcdef"
POLL = 0.03


@dataclass
class Outcome:
    """What a call has left."""

    asked: Asked | None
    """None: it stopped with an error."""
    error: str
    answers: dict[str, Reply]
    """What the ledger has, by request key."""
    num_advanced: int
    notes: list[str]
    spent_usd: float


@dataclass
class Place:
    """A home and a store that calls share."""

    home: Path
    store: Path | Shelf | None
    server: teacher.Handle

    @property
    def bill(self) -> Any:
        return self.server.desk.bill

    def ask(self, examples: list[Example], **settings: Any) -> Outcome:
        """Ask for all that is not in the ledger."""
        return ask(self.server.url, examples, self.home, self.store, **settings)

    def during(self, first: Callable[[], Outcome], second: Callable[[], Any]) -> Outcome:
        """What `first` gives, while `second` is done in a thread."""
        thread = threading.Thread(target=second)
        thread.start()
        outcome = first()
        thread.join()
        return outcome

    def cancel_when_half_done(self) -> None:
        """End the first batch when some of its questions are answered."""
        while not (found := self.batches()) or not found[0]["request_counts"]["completed"]:
            time.sleep(0.01)
        request = urllib.request.Request(
            f"{self.server.url}/batches/{found[0]['id']}/cancel", method="POST", data=b""
        )
        urllib.request.urlopen(request).close()

    def change_batch(self, **behaviour: Any) -> None:
        """Let the Batch API behave otherwise from now on."""
        batch = replace(self.server.desk.behaviour.batch, **behaviour)
        self.server.change(batch=batch)

    def get(self, path: str) -> Any:
        """What the API answers."""
        with urllib.request.urlopen(f"{self.server.url}/{path}") as answer:
            return json.loads(answer.read())

    def batches(self) -> list[dict[str, Any]]:
        """All batches that were ever created, the newest first."""
        return list(self.get("batches?limit=1000")["data"])

    def files(self) -> list[str]:
        """Names of the files that are at the API."""
        return [file["filename"] for file in self.get("files")["data"]]


class Told:
    """What the progress has been told."""

    def __init__(self) -> None:
        self.count = 0
        self.notes: list[str] = []

    def advance(self, count: int = 1) -> None:
        self.count += count

    def note(self, text: str) -> None:
        self.notes.append(text)


def section(url: str, **settings: Any) -> DistillSection:
    """Batch mode, quick."""
    batch = {"poll_seconds": POLL, **settings.pop("batch", {})}
    return DistillSection(
        teacher=url, teacher_model="gpt-4o-2024-05-13", mode="batch", batch=batch, **settings
    )


def keys_of(url: str, examples: list[Example], **settings: Any) -> list[str]:
    """Under which the ledger has the answers."""
    config = section(url, **settings)
    return [request_key(config, "test", example) for example in examples]


def ask(
    url: str, examples: list[Example], home: Path, store: Path | Shelf | None, **settings: Any
) -> Outcome:
    """One run's call of batch mode."""
    config, task = section(url, **settings), Told()
    keys = keys_of(url, examples, **settings)
    shelf = LocalStore(store) if isinstance(store, Path) else store
    folder = home / "teacher"
    with open_ledger(folder, shelf) as ledger:

        def questions() -> Iterator[Question]:
            for key, example in zip(keys, examples, strict=True):
                if key not in ledger:
                    yield Question(key, example, first(config))

        budget = budget_of(config, len(keys))
        for key in keys:
            if entry := ledger.get(key):
                cost = Reply.of(entry.response).cost_usd(price_of(config), batch=entry.batch)
                budget.add(cost)
        asked, error = None, ""
        try:
            asked = batches.ask(
                config,
                Endpoint("test", url, KEY),
                ledger,
                questions,
                budget=budget,
                folder=folder,
                shelf=shelf,
                task=task,
            )
        except ChainsightError as stopped:
            error = str(stopped)
        entries = {key: ledger.get(key) for key in ledger}
    answers = {key: Reply.of(entry.response) for key, entry in entries.items() if entry}
    return Outcome(asked, error, answers, task.count, task.notes, budget.spent_usd)


def ask_or_die(*arguments: Any, **settings: Any) -> None:
    """As `ask`, for a process of its own, whose exit code tells of errors."""
    if error := ask(*arguments, **settings).error:
        raise SystemExit(error)
