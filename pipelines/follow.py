"""Follow a run on Kubeflow: its tasks' states, the time they took, and why one failed."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from chainsight.errors import KubeflowError
from pipelines.server import Server

POLL_SECONDS = 10.0
"""Between two looks at the run."""
PATIENCE_SECONDS = 900.0
"""A server may be away this long (an upgrade, a lost network) before following is given up."""
LOG_LINES = 12
"""Lines of a failed pod's log in the message."""
FINISHED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
ATTEMPT = re.compile(r"\(\d+\)$")
MARKS = {"SUCCEEDED": "[green]✓[/]", "FAILED": "[red]✗[/]", "CANCELED": "[red]✗[/]"}


@dataclass(frozen=True)
class TaskState:
    """One task of a run, as people know it: the pod with the work, not its driver."""

    name: str
    """The task; a later one of the same name (a shard) gets a number."""
    state: str
    """PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, CANCELED."""
    seconds: float | None
    """How long it took or has been running; none: not started."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def states(details: Iterable[Any], names: frozenset[str], now: datetime) -> list[TaskState]:
    """The tasks called `names` among a run's details, in the order they started.

    The details are the workflow's nodes: beside each task there are its driver, its executor, its
    attempts (`sft(0)`) and the loops around it, which say nothing more.
    """
    own = sorted((d for d in details if d.display_name in names), key=_start)
    seen: dict[str, int] = {}
    result = []
    for detail in own:
        count = seen[detail.display_name] = seen.get(detail.display_name, 0) + 1
        name = detail.display_name if count == 1 else f"{detail.display_name} ({count})"
        result.append(TaskState(name, detail.state or "PENDING", _seconds(detail, now)))
    return result


def _start(detail: Any) -> tuple[datetime, str]:
    return (detail.start_time or datetime.max.replace(tzinfo=UTC), detail.task_id or "")


def _seconds(detail: Any, now: datetime) -> float | None:
    start: datetime | None = detail.start_time
    end: datetime | None = detail.end_time
    if start is None or start.year < 2000:  # no time is the year 1 (Go's zero) or 1970
        return None
    until = end if end is not None and end >= start and detail.state in FINISHED else now
    return max((until - start).total_seconds(), 0.0)


def duration(seconds: float | None) -> str:
    """42 s, 3:07 min, 1:02:03 h."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02} h"
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"


class TaskView:
    """A live table on a terminal; elsewhere a line for each change, so that logs stay short."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=2, transient=False)
        self._shown: dict[str, str] = {}

    def __enter__(self) -> "TaskView":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, tasks: list[TaskState]) -> None:
        """Show what is new."""
        if self._console.is_terminal:
            self._live.update(_table(tasks))
            return
        for task in tasks:
            if self._shown.get(task.name) != task.state:
                self._shown[task.name] = task.state
                self.say(_line(task))

    def say(self, text: str) -> None:
        """A line beside the table."""
        self._console.print(text, highlight=False, soft_wrap=True)


def _line(task: TaskState) -> str:
    took = duration(task.seconds) if task.state in FINISHED else ""
    return f"{MARKS.get(task.state, ' ')} {task.name:<14} {task.state.lower():<9} {took}".rstrip()


def _table(tasks: list[TaskState]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("", "task", "state"):
        table.add_column(title)
    table.add_column("time", justify="right")
    for task in tasks:
        mark = MARKS.get(task.state, " ")
        table.add_row(mark, task.name, task.state.lower(), duration(task.seconds))
    return table


def follow(
    server: Server,
    run_id: str,
    names: frozenset[str],
    view: TaskView,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Any, list[TaskState]]:
    """Look at the run until it is over; return it and its tasks.

    Raises:
        KubeflowError: the server refuses, or has been away for `PATIENCE_SECONDS`.
    """
    away = 0.0
    while True:
        try:
            with server.talking(f"follow run {run_id}"):
                run = server.client.get_run(run_id)
        except KubeflowError as error:
            if not _may_pass(error) or away >= PATIENCE_SECONDS:
                raise
            if away == 0.0:
                view.say(f"[yellow]![/] {escape(str(error))}; trying again")
            away += POLL_SECONDS
        else:
            away = 0.0
            details = (run.run_details and run.run_details.task_details) or []
            tasks = states(details, names, now())
            view.update(tasks)
            if run.state in FINISHED:
                return run, tasks
        sleep(POLL_SECONDS)


def _may_pass(error: KubeflowError) -> bool:
    """No answer, or the server's own trouble."""
    return error.status is not None and (error.status in {0, 429} or error.status >= 500)


def failures(server: Server, run: Any, names: frozenset[str]) -> dict[str, str]:
    """Why the run failed: the reason of each failed task, as far as it is known."""
    details = (run.run_details and run.run_details.task_details) or []
    failed = sorted((d for d in details if d.state == "FAILED"), key=_start)
    by_task = defaultdict(list)
    for detail in failed:
        name = detail.display_name.removesuffix("-driver")
        if name in names:
            by_task[name].append(detail)
    found = {}
    for name, own in by_task.items():
        # The API does not say whose executor a pod was; of one failed task it can only be its.
        related = own + [d for d in failed if d not in own] if len(by_task) == 1 else own
        found[name] = _given(related) or _last_words(server, run.run_id, related)
    if not found and run.error is not None and run.error.message:
        found["run"] = str(run.error.message)
    return found


def _given(details: list[Any]) -> str:
    """The error that the API itself names, the task's own first."""
    for detail in details:
        history = [status.error for status in reversed(detail.state_history or [])]
        for error in (detail.error, *history):
            if error is not None and error.message:
                return str(error.message)
    return ""


def _last_words(server: Server, run_id: str, details: list[Any]) -> str:
    """The end of a failed pod's log, where the server lets us read one."""
    for pod in reversed([pod for detail in details for pod in _pods(detail)]):
        try:
            with server.talking("read a log"):
                log = server.client.read_log(run_id, pod)
        except KubeflowError:
            continue
        lines = [line.rstrip() for line in log.splitlines() if line.strip()]
        if lines:
            return "\n".join(lines[-LOG_LINES:])
    return "Kubeflow names no reason; its log does"


def _pods(detail: Any) -> list[str]:
    executor = detail.executor_detail
    jobs = [*(executor.failed_main_jobs or []), executor.main_job] if executor else []
    return [pod for pod in (detail.pod_name, *jobs) if pod]
