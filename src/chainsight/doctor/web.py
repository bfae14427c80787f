"""One HTTP call with a short time-out, of which every answer is a value and no exception.

The standard library's client: the doctor works in every image, also where neither openai nor
mlflow is.
"""

import base64
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER = 16 * 2**20
LONGEST_QUOTE = 200
LOCAL = ("127.0.0.1", "localhost", "::1")
CLUSTER_DOMAINS = (".svc", ".cluster.local")


@dataclass(frozen=True)
class Answer:
    """Status 0: there was none, `said` tells why."""

    status: int
    said: str
    """The start of the body's error message, or of the body."""
    body: Any = None
    """The body's JSON, None if it is none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By names in lower case."""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def call(
    url: str,
    *,
    headers: Mapping[str, str],
    body: Any = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    trust: ssl.SSLContext | None = None,
    hide: Callable[[str], str] = str,
) -> Answer:
    """GET `url`, or POST `body` to it as JSON, through the environment's proxies.

    A redirect is an answer: followed, it would carry the key to wherever it points. `hide` takes
    the key out of what is said there.
    """
    request = urllib.request.Request(  # noqa: S310 - configurations hold http(s) only
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "chainsight-doctor"}
        | dict(headers),
    )
    proxies = urllib.request.ProxyHandler({} if urlsplit(url).hostname in LOCAL else None)
    secure = urllib.request.HTTPSHandler(context=trust or trusted())
    try:
        opener = urllib.request.build_opener(proxies, secure, _Redirects)
        with opener.open(request, timeout=timeout_seconds) as reply:
            answer = _read(reply.status, hide(_text(reply)))
            return replace(answer, headers=_lower(reply.headers))
    except urllib.error.HTTPError as error:
        with error:
            if moved := error.headers.get("Location"):
                return Answer(error.code, hide(f"moved to {moved}"))
            return _read(error.code, hide(_text(error)))
    except urllib.error.URLError as error:
        return Answer(0, str(error.reason))
    except TimeoutError:
        return Answer(0, f"no answer within {timeout_seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(0, hide(f"{type(error).__name__}: {error}"))


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: the caller gets the 30x."""


def trusted(bundle: str | None = None) -> ssl.SSLContext:
    """The system's authorities and, where it is installed, certifi's; or those in `bundle`.

    OSError when `bundle` cannot be read.
    """
    if bundle and Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    if bundle:
        return ssl.create_default_context(cafile=bundle)
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        return context
    if not os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(certifi.where())
    return context


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a name and a password."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {pair}"}


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


def of_the_cluster(url: str) -> bool:
    """Whether an address can be reached from inside a cluster only."""
    return (urlsplit(url).hostname or "").endswith(CLUSTER_DOMAINS)


def _text(reply: Any) -> str:
    return str(reply.read(LARGEST_ANSWER).decode("utf-8", errors="replace"))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _read(status: int, text: str) -> Answer:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return Answer(status, (_message(body) or " ".join(text.split()))[:LONGEST_QUOTE], body)


def _message(body: Any) -> str:
    """The message in OpenAI's errors, MLflow's and others'."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(inner, str):
        return inner
    return str(inner.get("message") or "") if isinstance(inner, dict) else ""
