"""How far long work is: bars on a terminal, sparse lines elsewhere, events for a parent process.

`chainsight run` executes stages in subprocesses; each writes events to the file named by
`CHAINSIGHT_EVENTS`, which the parent follows and draws.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.progress import Task as BarTask
from rich.text import Text

from chainsight.context import Progress, Task

EVENTS_VARIABLE = "CHAINSIGHT_EVENTS"
EVENT_INTERVAL_SECONDS = 0.2
LINE_INTERVAL_SECONDS = 30.0


class RateColumn(ProgressColumn):
    """Finished units per second."""

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        return Text(f"{speed:.1f} {unit}/s" if speed else "", style="dim")


def bars(console: Console) -> Bars:
    """The columns of every progress bar: title, bar, count, rate, elapsed, left."""
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        NoteColumn(),
        console=console,
        transient=True,
    )


class NoteColumn(ProgressColumn):
    """What the work says of itself."""

    def render(self, task: BarTask) -> Text:
        return Text(task.fields.get("note", ""), style="dim")


class _BarTask:
    def __init__(self, bars: Bars, task_id: Any) -> None:
        self._bars, self._id = bars, task_id

    def advance(self, count: int = 1) -> None:
        self._bars.advance(self._id, count)

    def note(self, text: str) -> None:
        self._bars.update(self._id, note=text)


class TerminalProgress:
    """Draws one bar per piece of work."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        with bars(self._console) as drawn:
            yield _BarTask(drawn, drawn.add_task(title, total=total, completed=done, unit=unit))


class _LineTask:
    """Calls `say(done, note)` at most every `interval` seconds."""

    def __init__(self, say: Any, done: int, interval: float) -> None:
        self._say, self._done, self._interval, self._note = say, done, interval, ""
        self._last = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._last >= self._interval:
            self._last = time.monotonic()
            self._say(self._done, self._note)

    def note(self, text: str) -> None:
        self._note = text


class LineProgress:
    """For logs: a line every half minute, so that short work stays quiet."""

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        start, first = time.monotonic(), done

        def say(now: int, note: str) -> None:
            rate = (now - first) / max(time.monotonic() - start, 1e-9)
            left = (total - now) / rate if rate else float("inf")
            line = f"{title}: {now}/{total} {unit}, {rate:.1f}/s, {left:.0f} s left"
            line += f" ({note})" if note else ""
            print(line, file=sys.stderr, flush=True)  # noqa: T201

        yield _LineTask(say, done, LINE_INTERVAL_SECONDS)


class EventWriter:
    """Appends events, one JSON object a line, for the process that follows them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, **fields: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **fields}) + "\n")

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        self.write("task", title=title, total=total, unit=unit, done=done)

        def say(now: int, note: str) -> None:
            self.write("at", done=now, **({"note": note} if note else {}))

        yield _LineTask(say, done, EVENT_INTERVAL_SECONDS)
        self.write("end")


def parent_events() -> EventWriter | None:
    """The event file of the process that started this one, if there is one."""
    path = os.environ.get(EVENTS_VARIABLE)
    return EventWriter(Path(path)) if path else None


def choose() -> Progress:
    """Events for a parent process, bars on a terminal, else sparse lines."""
    events = parent_events()
    if events is not None:
        return events
    return TerminalProgress(Console(stderr=True)) if sys.stderr.isatty() else LineProgress()
