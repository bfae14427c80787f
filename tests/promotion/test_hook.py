"""The reconciler's port: hints that are verified, probes, figures."""

import base64
import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import pytest
from bench import Bench

from chainsight.promotion import Reconciler
from chainsight.promotion.hook import hook_server, is_signed

SECRET, NOW = "s3cret", 1_700_000_000.0


def signed(
    body: bytes, secret: str = SECRET, stamp: str = "1700000000", delivery: str = "d1"
) -> dict[str, str]:
    """Headers as MLflow 3.17 sends them."""
    text = f"{delivery}.{stamp}.".encode() + body
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reconciler(bench: Bench, clock: Clock) -> Reconciler:
    return Reconciler(bench.place(), poll_seconds=20, clock=clock)


@pytest.fixture
def url(reconciler: Reconciler) -> Iterator[str]:
    with hook_server(
        reconciler, "m", port=0, secret=SECRET, host="127.0.0.1", now=lambda: NOW
    ) as address:
        yield address


def ask(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def woken(reconciler: Reconciler) -> bool:
    return reconciler._wake.is_set()


def test_a_signed_hint_wakes_the_reconciler(url: str, reconciler: Reconciler) -> None:
    assert ask(f"{url}/hook", b"{}", signed(b"{}")) == (202, "looking\n")
    assert woken(reconciler)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(b"{}", secret="other"),
        signed(b"another body"),
        signed(b"{}", stamp=str(int(NOW) - 301)),
        signed(b"{}", stamp=str(int(NOW) + 301)),
        signed(b"{}", stamp="soon"),
        signed(b"{}") | {"X-MLflow-Delivery-Id": "d2"},
        signed(b"{}") | {"X-MLflow-Signature": "v1,ü"},
    ],
)
def test_a_forged_changed_or_old_hint_does_not(
    url: str, reconciler: Reconciler, headers: dict[str, str]
) -> None:
    headers = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    assert ask(f"{url}/hook", b"{}", headers)[0] == 401
    assert not woken(reconciler)


def test_a_hint_of_nearly_five_minutes_is_good() -> None:
    assert is_signed(signed(b"x", stamp=str(int(NOW) - 299)), b"x", SECRET, NOW)


def test_without_a_secret_any_hint_is_taken(reconciler: Reconciler) -> None:
    with hook_server(reconciler, "m", port=0, secret=None, host="127.0.0.1") as url:
        assert ask(f"{url}/hook", b"{}")[0] == 202
    assert woken(reconciler)


def test_a_hint_that_is_too_long_is_refused_unread(url: str, reconciler: Reconciler) -> None:
    assert ask(f"{url}/hook", b"", {"Content-Length": "9999999"})[0] == 413
    assert not woken(reconciler)


def test_it_is_healthy_while_it_goes_round(url: str, reconciler: Reconciler, clock: Clock) -> None:
    assert ask(f"{url}/healthz")[0] == 200  # it has just started
    clock.now = 61
    assert ask(f"{url}/healthz") == (503, "no look has ended for 61 s\n")
    reconciler.attempt()
    assert ask(f"{url}/healthz") == (200, "looking every 20 s; all is well\n")
    clock.now = 122
    assert ask(f"{url}/healthz")[0] == 503


def test_reading_a_large_model_is_no_hanging(bench: Bench, clock: Clock) -> None:
    place = bench.place()
    reconciler = Reconciler(place, clock=clock)
    clock.now = 600
    with hook_server(reconciler, "m", port=0, secret=None, host="127.0.0.1") as url:
        with place.reading():
            assert ask(f"{url}/healthz")[0] == 200
        assert ask(f"{url}/healthz")[0] == 503


def test_figures_and_unknown_paths(url: str) -> None:
    status, text = ask(f"{url}/metrics")
    assert status == 200
    assert 'chainsight_champion_version{model="m"} 0' in text
    assert ask(f"{url}/")[0] == 404
    assert ask(f"{url}/metrics", b"x")[0] == 404
