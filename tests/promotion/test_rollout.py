"""The serving Deployment follows the champion; the real client against a stand-in API."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bench import Bench, KilledError, kill_at
from kube import KubeServer

from chainsight.errors import LaunchError
from chainsight.launch.served import ROLLED, is_rolled_out, served_by
from chainsight.promotion import Reconciler, promote, rollback


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    with KubeServer() as server:
        yield server


@pytest.fixture
def look(bench: Bench, kube: KubeServer) -> Callable[..., Reconciler]:
    """One look of a reconciler that has just started."""

    def once(step: Callable[[str], None] | None = None, seconds: float = 1800) -> Reconciler:
        rollout = kube.client(bench.model)
        reconciler = Reconciler(bench.place(step), rollout, rollout_seconds=seconds)
        reconciler.look()
        return reconciler

    return once


Look = Callable[..., Reconciler]


def champions(bench: Bench, count: int) -> None:
    for number in range(1, count + 1):
        promote(bench.place(), version=bench.version(number / 10).number)


def served_for(kube: KubeServer, seconds: float) -> None:
    """Make the rollout under way begin so long ago."""
    begun = datetime.now(UTC) - timedelta(seconds=seconds)
    kube.deployment["metadata"]["annotations"][ROLLED] = begun.isoformat()


def test_without_a_champion_nothing_is_rolled(kube: KubeServer, look: Look) -> None:
    look()
    assert kube.patches == 0


def test_the_champion_is_told_to_every_container_that_loads_it(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    wanted = {"CHAINSIGHT_MODEL": f"models:/{bench.model}/1", "KEPT": "1"}
    assert kube.env("serve") == kube.env("fetch") == wanted
    assert kube.env("proxy") == {"KEPT": "1"}
    assert kube.serving == "1"
    kube.settle()
    for _ in range(3):
        look()
    assert kube.patches == 2  # the second notes that it was ready


def test_a_promotion_and_a_rollback_are_followed(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 2)
    look()
    kube.settle()
    assert kube.serving == "2"
    rollback(bench.place(), why="slow")
    look()
    assert kube.serving == "1"


def test_a_champion_that_exceeds_the_deadline_is_taken_back_with_the_pods_reason(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    kube.settle()
    promote(bench.place(), version=bench.version(0.9).number)
    look()
    ended = {"exitCode": 1, "reason": "Error", "message": "sha256 differs"}
    kube.add_pod(2, state={"waiting": {"reason": "CrashLoopBackOff"}},
                 lastState={"terminated": ended})  # fmt: skip
    kube.give_up()
    look()
    entry = bench.log()[-1]
    assert (entry.action, entry.from_version, entry.to_version) == ("rollout_failed", 2, 1)
    assert "ProgressDeadlineExceeded" in entry.why
    assert "serve-2: exit code 1" in entry.why
    assert (bench.champion, bench.previous) == (1, None)
    look()
    assert kube.serving == "1"


def test_a_champion_that_is_not_ready_in_time_is_taken_back(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    kube.settle()
    promote(bench.place(), version=bench.version(0.9).number)
    look()
    look()
    assert bench.champion == 2  # still time
    served_for(kube, 31)
    look(seconds=30)
    assert bench.champion == 1
    assert "not ready within promotion.rollout_seconds (30 s)" in bench.log()[-1].why


def test_an_outage_after_the_rollout_is_no_reason_to_take_a_champion_back(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 2)
    look()
    kube.settle()
    look()
    served_for(kube, 10_000)
    kube.give_up()
    look()
    assert bench.champion == 2


def test_it_goes_back_to_the_version_that_was_ready_last(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    kube.settle()
    champions(bench, 3)  # 2 to 4, while nobody looked
    look()
    assert kube.serving == "4"
    kube.give_up()
    look()
    assert (bench.champion, bench.log()[-1].to_version) == (1, 1)


def test_a_new_promotion_overtakes_a_rollout_and_what_was_ready_is_remembered(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    kube.settle()
    champions(bench, 1)
    rollout = promote(bench.place(), version=bench.version(0.8).number)
    assert rollout.done
    look()
    promote(bench.place(), version=bench.version(0.9).number)
    look()  # 3 was never ready
    kube.give_up()
    look()
    assert bench.champion == 1


def test_a_first_champion_that_fails_is_logged_once_and_stays(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    kube.give_up()
    for _ in range(3):
        look()
    assert bench.actions() == ["promoted", "rollout_failed"]
    assert bench.log()[-1].why.endswith("there is none to go back to")
    assert bench.champion == 1
    promote(bench.place(), version=bench.version(0.9).number)
    look()
    assert kube.serving == "2"


@pytest.mark.parametrize("step", ["decided", "appended", "champion set", "checked"])
def test_a_reconciler_killed_while_it_takes_a_champion_back_goes_on(
    bench: Bench, kube: KubeServer, look: Look, step: str
) -> None:
    champions(bench, 1)
    look()
    kube.settle()
    promote(bench.place(), version=bench.version(0.9).number)
    look()
    kube.give_up()
    with pytest.raises(KilledError):
        look(kill_at(step))
    for _ in range(3):
        look()
    assert bench.champion == 1
    assert kube.serving == "1"
    assert bench.actions().count("rollout_failed") == 1


def test_a_promotion_that_comes_between_is_not_taken_back(
    bench: Bench, kube: KubeServer, look: Look
) -> None:
    champions(bench, 1)
    look()
    kube.settle()
    promote(bench.place(), version=bench.version(0.8).number)
    look()
    kube.give_up()
    left = [True]

    def overtake(step: str) -> None:
        if step == "decided" and left:
            left.clear()
            promote(bench.place(), version=bench.version(0.9).number)

    look(overtake)
    look()
    assert (bench.champion, kube.serving) == (3, "3")
    assert "rollout_failed" not in bench.actions()


def test_of_two_that_patch_at_once_one_is_refused_and_nothing_breaks(
    bench: Bench, kube: KubeServer
) -> None:
    champions(bench, 1)
    first, second = kube.client(bench.model), kube.client(bench.model)
    found = second._get()
    assert first.roll(1, None)
    second._get = lambda: found  # type: ignore[method-assign] - it looked before
    assert not second.roll(1, None)
    assert kube.patches == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("503", "503: no"),
        ("cut", "the Kubernetes API is away"),
        ("403", r"apiGroups \[apps\], resources \[deployments\], verbs \[get, patch\]"),
    ],
)
def test_an_api_that_is_away_or_refuses_is_said_and_tried_again(
    bench: Bench, kube: KubeServer, fault: str, words: str
) -> None:
    champions(bench, 1)
    reconciler = Reconciler(bench.place(), kube.client(bench.model))
    kube.fault = fault
    with pytest.raises(LaunchError, match=words):
        reconciler.look()
    assert not reconciler.attempt()
    kube.fault = ""
    assert reconciler.attempt()
    assert kube.serving == "1"


def test_a_wrong_name_token_or_deployment_is_told_from_the_rest(
    bench: Bench, kube: KubeServer
) -> None:
    with pytest.raises(LaunchError, match=r"there is no Deployment other; correct promotion\.dep"):
        kube.client(bench.model, name="other").look()
    with pytest.raises(LaunchError, match="does not know this service account"):
        kube.client(bench.model, token="old").look()
    pod = kube.deployment["spec"]["template"]["spec"]
    pod["containers"] = [one for one in pod["containers"] if one["name"] == "proxy"]
    pod["initContainers"] = []
    with pytest.raises(LaunchError, match="has no container named serve or fetch"):
        kube.client(bench.model).roll(1, None)


def deployment(generation: int = 2, replicas: int = 2, **status: Any) -> dict[str, Any]:
    template = {"metadata": {"annotations": {"chainsight.dev/version": "7"}}}
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas, "template": template},
        "status": status,
    }


def status(observed: int, updated: int, every: int, available: int) -> dict[str, int]:
    return {
        "observedGeneration": observed,
        "updatedReplicas": updated,
        "replicas": every,
        "availableReplicas": available,
    }


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (status(2, 2, 2, 2), True),
        (status(1, 2, 2, 2), False),  # of the generation before
        (status(2, 1, 2, 2), False),
        (status(2, 2, 3, 2), False),  # an old pod is still there
        (status(2, 2, 2, 1), False),
        ({}, False),
    ],
)
def test_a_rollout_is_ready_when_kubectl_says_so(found: dict[str, int], ready: bool) -> None:
    assert is_rolled_out(deployment(**found)) is ready


def test_conditions_of_the_rollout_before_do_not_count() -> None:
    gave_up = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    now = datetime.now(UTC)
    old = deployment(observedGeneration=1, conditions=[gave_up])
    assert served_by(old, (), now).failed is None
    new = deployment(observedGeneration=2, conditions=[gave_up])
    assert served_by(new, (), now).failed == "ProgressDeadlineExceeded"
    assert served_by(new, (), now).version == 7
