"""Submission: what is sent to Kubeflow Pipelines, once and twice, and how refusals read."""

import io
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kfp_server import KfpServer, moment, task
from rich.console import Console

from chainsight.config import RunConfig
from chainsight.errors import ConfigError, KubeflowError
from pipelines.compiled import compile_to
from pipelines.plan import plan
from pipelines.submit import Submission, Target, submit, terminate

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


_COMPILED: dict[str, str] = {}


def compile_once(config: RunConfig, path: Path) -> None:
    """As `compile_to`, and at once for a configuration that was compiled before."""
    key = config.model_dump_json()
    if key not in _COMPILED:
        compile_to(config, path)
        _COMPILED[key] = path.read_text()
    path.write_text(_COMPILED[key])


@pytest.fixture
def send(server: KfpServer, config: RunConfig) -> Callable[..., Submission]:
    """Submits to the stand-in, without pauses; `.printed` of the result's console is `text`."""

    def call(config: RunConfig = config, **options: Any) -> Submission:
        target = options.pop("target", Target(host=server.url))
        console = options.pop("console", Console(file=io.StringIO(), width=200))
        options = {"sleep": lambda _: None, "allow_tags": True, "now": lambda: NOW} | options
        options = {"compile_to": compile_once} | options
        return submit(config, target, console, **options)

    return call


def changed(config: RunConfig, section: str, **values: Any) -> RunConfig:
    """The configuration with some settings of a section changed."""
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def test_a_first_submission_uploads_the_pipeline_and_runs_it_with_the_sections(
    server: KfpServer, send: Callable[..., Submission], config: RunConfig
) -> None:
    done = send()
    assert [p["display_name"] for p in server.pipelines] == ["chainsight-train"]
    assert [v["display_name"] for v in server.versions] == [done.version]
    assert [e["display_name"] for e in server.experiments] == ["chainsight"]
    (run,) = server.runs
    assert run["display_name"] == "smoke-20261121-120030"
    sent = run["runtime_config"]["parameters"]
    assert sent["sft"]["max_steps"] == config.sft.max_steps
    assert sent["prepare"]["examples"][0]["dataset"] == "chartqa"
    sections = {field.alias or name for name, field in type(config).model_fields.items()}
    assert set(sent) >= sections - {"verify", "adopt", "rft", "promotion"}
    assert done.url == f"{server.url}/#/runs/details/{run['run_id']}"
    assert done.uploaded
    assert done.state == "SUCCEEDED"


def test_the_same_package_is_uploaded_once(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    first, second = send(), send()
    assert (first.uploaded, second.uploaded) == (True, False)
    assert server.requests.count("POST /apis/v2beta1/pipelines/upload_version") == 1
    assert first.version == second.version
    assert len(server.pipelines) == len(server.versions) == len(server.experiments) == 1
    assert len(server.runs) == 2


def test_another_configuration_is_another_run_of_the_same_version(
    server: KfpServer, send: Callable[..., Submission], config: RunConfig
) -> None:
    send()
    send(changed(config, "sft", max_steps=7))
    assert len(server.versions) == 1
    steps = [r["runtime_config"]["parameters"]["sft"]["max_steps"] for r in server.runs]
    assert steps == [2, 7]


def test_another_package_is_a_second_version_of_the_same_pipeline(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    send()
    server.versions[0]["display_name"] = "0.0.9-0123456789ab"  # as an older release left it
    assert send().uploaded
    assert len(server.versions) == 2
    assert len(server.pipelines) == 1


def test_two_submissions_at_once_share_the_version(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    def another_is_quicker() -> None:
        server.before_upload = lambda: None
        send()

    server.before_upload = another_is_quicker
    assert not send().uploaded
    assert len(server.versions) == 1
    assert len(server.runs) == 2


def test_every_uploaded_task_has_the_cache_off(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    send()
    spec = server.versions[0]["pipeline_spec"]
    dags = [c["dag"] for c in (spec["root"], *spec["components"].values()) if "dag" in c]
    tasks = [task for dag in dags for task in dag["tasks"].values()]
    assert len(tasks) >= 8
    assert not any(task["cachingOptions"].get("enableCache") for task in tasks)


def test_experiment_and_service_account_can_be_chosen(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    send(target=Target(server.url, None, "trials", "trainer"))
    assert server.experiments[0]["display_name"] == "trials"
    assert server.runs[0]["service_account"] == "trainer"
    assert server.runs[0]["experiment_id"] == server.experiments[0]["experiment_id"]


def test_a_namespace_goes_with_everything_on_a_shared_installation(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    server.multi_user = True
    send(target=Target(server.url, "team-a"))
    assert server.pipelines[0]["namespace"] == server.experiments[0]["namespace"] == "team-a"


def test_without_waiting_the_run_is_started_and_left(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    done = send(wait=False)
    assert done.state == "PENDING"
    assert len(server.runs) == 1
    assert not [r for r in server.requests if "GET /apis/v2beta1/runs" in r]


def test_the_token_of_kfps_own_variable_is_sent(
    server: KfpServer, send: Callable[..., Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "let-me-in"
    monkeypatch.setenv("KFP_EXISTING_TOKEN", "let-me-in")
    assert send().state == "SUCCEEDED"


def test_a_failed_run_names_the_task_and_its_error(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    error = {"code": 2, "message": "TeacherError: no key in OPENAI_API_KEY"}
    failed = task("distill", "FAILED", 60, 95, error=error)
    server.script = [moment("FAILED", task("prepare", "SUCCEEDED", 0, 42), failed)]
    done = send()
    assert done.failures == {"distill": "TeacherError: no key in OPENAI_API_KEY"}
    with pytest.raises(KubeflowError, match=r"failed; look at http.*\ndistill: TeacherError: no"):
        done.check()


@pytest.mark.parametrize(
    "last",
    [moment("CANCELED"), moment("FAILED", state_history=[{"state": "CANCELING"}])],
    ids=["canceled", "failed by its deadline"],
)
def test_a_terminated_run_is_no_success(
    server: KfpServer, send: Callable[..., Submission], last: dict[str, Any]
) -> None:
    server.script = [last]
    with pytest.raises(KubeflowError, match="was terminated"):
        send().check()


def test_ctrl_c_ends_the_following_and_says_how_to_end_the_run(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    server.script = [moment("RUNNING", task("prepare", "RUNNING"))]
    console = Console(file=io.StringIO(), width=200)
    done = send(sleep=pressed, console=console)
    assert done.interrupted
    assert not server.terminated
    assert isinstance(console.file, io.StringIO)
    end = f"chainsight terminate {done.run_id} --host {server.url}"
    assert end in console.file.getvalue()
    done.check()


def test_terminate_ends_a_run(server: KfpServer, send: Callable[..., Submission]) -> None:
    done = send(wait=False)
    terminate(Target(server.url), done.run_id)
    assert server.terminated == [done.run_id]
    with pytest.raises(KubeflowError, match=r"refuses to terminate run nobody's .404.*not found"):
        terminate(Target(server.url), "nobody's")


def test_images_without_a_digest_are_refused_before_any_request(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    with pytest.raises(ConfigError, match=r"chainsight-sft:.*docker/build.sh.*--allow-tags"):
        send(allow_tags=False)
    assert server.requests == []


def test_a_plan_needs_no_server(clean_environment: None, config: RunConfig) -> None:
    planned = plan(config, Target())
    assert planned["pipeline"] == "chainsight-train"
    assert planned["images"]["sft"]["pinned"] is False
    assert planned["parameters"]["sft"]["max_steps"] == 2


# Refusals: one message each, with the way out.


def test_nobody_answers(config: RunConfig, clean_environment: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(KubeflowError, match=f"{url}.*does not answer .*refused.*port-forward"):
        submit(config, Target(url), Console(), allow_tags=True, compile_to=compile_once)


def test_no_address_is_known(config: RunConfig, clean_environment: None) -> None:
    with pytest.raises(ConfigError, match="give --host URL, set KF_PIPELINES_ENDPOINT"):
        submit(config, Target(), Console(), allow_tags=True, compile_to=compile_once)


def test_a_missing_token_says_where_to_put_one(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    server.token = "let-me-in"
    with pytest.raises(KubeflowError, match=r"does not know you .401.*KFP_EXISTING_TOKEN"):
        send()


def test_a_namespace_of_others_is_refused_with_its_name(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    server.multi_user = True
    with pytest.raises(KubeflowError, match=r"you may not look up .* in namespace team-b .403"):
        send(target=Target(server.url, "team-b"))
    assert server.runs == []


def test_a_shared_installation_wants_a_namespace(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    server.multi_user = True
    with pytest.raises(ConfigError, match="say whose namespace with --namespace"):
        send()


def test_a_single_user_installation_has_no_namespaces(
    server: KfpServer, send: Callable[..., Submission]
) -> None:
    with pytest.raises(ConfigError, match="leave out --namespace team-a"):
        send(target=Target(server.url, "team-a"))


@pytest.mark.parametrize("tag", ["2.14.3", "2.5.0", "v1.8.22"])
def test_an_old_server_is_refused(
    server: KfpServer, send: Callable[..., Submission], tag: str
) -> None:
    server.tag = tag
    with pytest.raises(KubeflowError, match=f"runs Kubeflow Pipelines {tag}, older than 2.15"):
        send()
    assert server.pipelines == []


@pytest.mark.parametrize("tag", ["2.15.0", "2.17.3", "3.0.0", "unknown"])
def test_a_new_or_unnamed_server_is_accepted(
    server: KfpServer, send: Callable[..., Submission], tag: str
) -> None:
    server.tag = tag
    assert send(wait=False).run_id


def test_a_login_page_is_recognised(server: KfpServer, send: Callable[..., Submission]) -> None:
    server.page = "<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(KubeflowError, match=r"web page .* login page.*KFP_EXISTING_TOKEN"):
        send()


def test_a_wrong_path_is_recognised(server: KfpServer, send: Callable[..., Submission]) -> None:
    with pytest.raises(KubeflowError, match=r"has no v2 API .404.*ends in /pipeline"):
        send(target=Target(f"{server.url}/somewhere"))


def test_compiling_leaves_no_files(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan(config, Target())
    assert list(tmp_path.iterdir()) == []
