"""Following a run: states, times, lines, outages and the reasons of failures."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from kfp_server import START, KfpServer, moment, task
from rich.console import Console

from chainsight.errors import KubeflowError
from pipelines.follow import PATIENCE_SECONDS, TaskView, duration, failures, follow
from pipelines.server import Server, connect

NAMES = frozenset({"prepare", "distill", "sft", "sample"})


@pytest.fixture
def kubeflow(server: KfpServer) -> Server:
    """A connection to the stand-in, where one run is under way."""
    server.runs.append({"run_id": "r1", "state": "RUNNING", "created_at": "2026-11-21T12:00:00Z"})
    return connect(server.url)


@pytest.fixture
def lines() -> io.StringIO:
    """What a view printed."""
    return io.StringIO()


@pytest.fixture
def watch(kubeflow: Server, lines: io.StringIO) -> Callable[..., Any]:
    """Follows the run without pauses; the clock stands two minutes after its start."""

    def call(sleep: Callable[[float], None] = lambda _: None, terminal: bool = False) -> Any:
        console = Console(file=lines, width=100, force_terminal=terminal)
        now = START + timedelta(seconds=120)
        with TaskView(console) as view:
            return follow(kubeflow, "r1", NAMES, view, sleep=sleep, now=lambda: now)

    return call


def test_off_a_terminal_each_change_is_one_line(
    server: KfpServer, watch: Callable[..., Any], lines: io.StringIO
) -> None:
    done = task("prepare", "SUCCEEDED", 0, 42)
    server.script = [
        moment("PENDING"),
        moment("RUNNING", task("prepare", "RUNNING")),
        moment("RUNNING", task("prepare", "RUNNING")),
        moment("RUNNING", done, task("distill", "RUNNING", 42)),
        moment("SUCCEEDED", done, task("distill", "SUCCEEDED", 42, 3700)),
    ]
    watch()
    assert [" ".join(line.split()) for line in lines.getvalue().splitlines()] == [
        "prepare running",
        "✓ prepare succeeded 42 s",
        "distill running",
        "✓ distill succeeded 1:00:58 h",
    ]


def test_on_a_terminal_there_is_a_table_with_running_times(
    server: KfpServer, watch: Callable[..., Any], lines: io.StringIO
) -> None:
    tasks = (task("prepare", "SUCCEEDED", 0, 42), task("distill", "RUNNING", 42))
    server.script = [moment("RUNNING", *tasks), moment("CANCELED", *tasks)]
    watch(terminal=True)
    shown = lines.getvalue()
    assert "42 s" in shown
    assert "1:18 min" in shown  # the clock stands at 120 s
    assert "driver" not in shown
    assert "executor" not in shown


def test_shards_of_one_task_are_told_apart(server: KfpServer, watch: Callable[..., Any]) -> None:
    server.script = [
        moment("SUCCEEDED", task("sample", "SUCCEEDED", 5, 9), task("sample", "SUCCEEDED", 1, 4))
    ]
    _, tasks = watch()
    assert [(t.name, t.seconds) for t in tasks] == [("sample", 3), ("sample (2)", 4)]


def test_attempts_are_no_tasks_of_their_own(server: KfpServer, watch: Callable[..., Any]) -> None:
    server.script = [
        moment("SUCCEEDED", task("sft", "SUCCEEDED", 0, 9), task("sft(0)", "FAILED", 0, 3))
    ]
    _, tasks = watch()
    assert [(t.name, t.state) for t in tasks] == [("sft", "SUCCEEDED")]


def test_a_task_without_a_start_has_no_time(server: KfpServer, watch: Callable[..., Any]) -> None:
    pending = {"display_name": "sft", "state": "PENDING", "start_time": "0001-01-01T00:00:00Z"}
    server.script = [moment("SUCCEEDED", [pending])]
    _, tasks = watch()
    assert tasks[0].seconds is None


def test_a_server_that_is_away_for_a_while_does_not_end_the_following(
    server: KfpServer, watch: Callable[..., Any], lines: io.StringIO
) -> None:
    server.faults = [503, 502, 429]
    server.script = [moment("SUCCEEDED")]
    run, _ = watch()
    assert run.state == "SUCCEEDED"
    assert lines.getvalue().count("trying again") == 1


def test_a_server_that_stays_away_ends_the_following(
    server: KfpServer, watch: Callable[..., Any]
) -> None:
    slept: list[float] = []
    server.faults = [503] * 1000
    with pytest.raises(KubeflowError, match=r"refuses to follow run r1 .503"):
        watch(sleep=slept.append)
    assert sum(slept) == PATIENCE_SECONDS


def test_a_token_that_expired_ends_the_following_at_once(
    server: KfpServer, watch: Callable[..., Any]
) -> None:
    server.faults = [401]
    with pytest.raises(KubeflowError, match="does not know you"):
        watch()


def reasons(server: KfpServer, kubeflow: Server, *tasks: Any, **more: Any) -> dict[str, str]:
    """The reasons for the failure of a run with these tasks."""
    server.script = [moment("FAILED", *tasks, **more)]
    return failures(kubeflow, kubeflow.client.get_run("r1"), NAMES)


def test_a_reason_is_the_one_that_the_api_names(server: KfpServer, kubeflow: Server) -> None:
    error = {"code": 2, "message": "out of memory"}
    failed = task("sft", "FAILED", 0, 9, error=error)
    assert reasons(server, kubeflow, failed) == {"sft": "out of memory"}
    history = [{"state": "FAILED", "error": error}]
    failed = task("sft", "FAILED", 0, 9, state_history=history)
    assert reasons(server, kubeflow, failed) == {"sft": "out of memory"}


def test_otherwise_it_is_the_end_of_the_last_attempts_log(
    server: KfpServer, kubeflow: Server
) -> None:
    server.logs = {"pod-1": "\n".join(f"line {i}" for i in range(40)) + "\nTeacherError: no\n\n"}
    jobs = {"failed_main_jobs": ["pod-0", "pod-1", "pod-gone"]}
    failed = task("distill", "FAILED", 0, 9)
    failed[2]["executor_detail"] = jobs  # the executor's node has it, whose task is not named
    reason = reasons(server, kubeflow, failed)["distill"]
    assert reason.splitlines()[-2:] == ["line 39", "TeacherError: no"]
    assert len(reason.splitlines()) == 12


def test_a_failed_driver_is_its_tasks_failure(server: KfpServer, kubeflow: Server) -> None:
    driver = {"display_name": "sft-driver", "state": "FAILED", "error": {"message": "no secret"}}
    assert reasons(server, kubeflow, [driver]) == {"sft": "no secret"}


def test_two_failed_tasks_keep_their_own_reasons(server: KfpServer, kubeflow: Server) -> None:
    first = task("sft", "FAILED", 0, 9, error={"message": "one"})
    second = task("sample", "FAILED", 0, 9)
    second[2]["executor_detail"] = {"failed_main_jobs": ["whose"]}
    server.logs = {"whose": "nobody knows"}
    found = reasons(server, kubeflow, first, second)
    assert found == {"sft": "one", "sample": "Kubeflow names no reason; its log does"}


def test_a_run_that_never_started_a_task_gives_its_own_error(
    server: KfpServer, kubeflow: Server
) -> None:
    found = reasons(server, kubeflow, error={"code": 3, "message": "quota exceeded"})
    assert found == {"run": "quota exceeded"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1:00 min"),
        (3599, "59:59 min"),
        (3600, "1:00:00 h"),
    ],
)
def test_durations_read_like_clocks(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
