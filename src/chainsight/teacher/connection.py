"""The openai client for one place: its protocol, its key, proxies and certificates.

OpenAI, vLLM, any compatible server and Azure's `.../openai/v1` speak OpenAI's protocol, with the
key as bearer token. Azure's dated API (`api_version`) has a path per deployment, and the key in the
header `api-key`.

`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` and `SSL_CERT_DIR` count, as everywhere; a
teacher on this machine is reached without a proxy.
"""

from typing import Any
from urllib.parse import urlsplit

import openai

from chainsight.config import DistillSection
from chainsight.teacher.endpoint import Endpoint

CONNECT_SECONDS = 10.0
LOCAL = ("127.0.0.1", "localhost", "::1")


def connect(endpoint: Endpoint, config: DistillSection) -> openai.AsyncOpenAI:
    """A client for one place. It tries once: retries, limits and budget are the caller's."""
    shared: dict[str, Any] = {
        "api_key": _key_of(endpoint),
        "max_retries": 0,
        "timeout": _timeout(config),
        "http_client": openai.DefaultAsyncHttpxClient(
            trust_env=urlsplit(endpoint.base_url or "").hostname not in LOCAL,
            limits=_limits(config.concurrency),
            timeout=_timeout(config),
        ),
    }
    if endpoint.api_version is None:
        return openai.AsyncOpenAI(base_url=endpoint.base_url, **shared)
    return openai.AsyncAzureOpenAI(
        azure_endpoint=endpoint.base_url or "", api_version=endpoint.api_version, **shared
    )


def chat_path(endpoint: Endpoint) -> str:
    """What a line of a batch asks; Azure's path has no version in it."""
    return "/chat/completions" if endpoint.is_azure else "/v1/chat/completions"


def _key_of(endpoint: Endpoint) -> Any:
    """Asked for by the client at each request: a key in a file may be another one by then."""

    async def current() -> str:
        return endpoint.current_key()

    return current


def _timeout(config: DistillSection) -> openai.Timeout:
    seconds = config.timeout_seconds
    return openai.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))


def _limits(concurrency: int) -> Any:
    """A connection for each request in flight, kept open: a handshake costs what an answer may."""
    kind = type(openai.DEFAULT_CONNECTION_LIMITS)
    return kind(max_connections=concurrency, max_keepalive_connections=concurrency)
