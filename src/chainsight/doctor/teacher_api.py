"""How the doctor calls a teacher's place: the paths and headers of each protocol.

Without the openai client, which only distill's image has. What comes back has no key in it.
"""

import base64
import io
import time
from collections.abc import Mapping
from typing import Any

from PIL import Image

from chainsight.config import DistillSection
from chainsight.doctor import web
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.request import limits

OPENAI_URL = "https://api.openai.com/v1"
ANSWER_SECONDS = 20.0
PAUSE_SECONDS = 1.0
SIDE = 64
"""Pixels of the picture that is asked about: small, but not below what vision models take."""
THOUGHT_TOKENS = 256
"""What a teacher that reasons is given for its one word."""


def address(endpoint: Endpoint) -> str:
    """The place, for messages."""
    return (endpoint.base_url or OPENAI_URL).rstrip("/")


def url(endpoint: Endpoint, path: str, query: str = "") -> str:
    """The address of `path` there. Azure's dated API puts deployments into it, and its date."""
    if endpoint.api_version is None:
        return f"{address(endpoint)}{path}{query and '?' + query}"
    deployment = f"/deployments/{endpoint.model}" if path.startswith("/chat/") else ""
    version = "&".join(filter(None, (f"api-version={endpoint.api_version}", query)))
    return f"{address(endpoint)}/openai{deployment}{path}?{version}"


def get(endpoint: Endpoint, path: str, query: str = "") -> web.Answer:
    """What is there, for free."""
    return web.call(url(endpoint, path, query), headers=_key(endpoint), hide=endpoint.hide)


def ask(config: DistillSection, endpoint: Endpoint) -> web.Answer:
    """The answer to one question; a busy or stumbling teacher is asked a second time."""
    for tried in range(2):
        answer = web.call(
            url(endpoint, "/chat/completions"),
            headers=_key(endpoint),
            body=question(config, endpoint.model or config.teacher_model),
            timeout_seconds=min(ANSWER_SECONDS, config.timeout_seconds),
            hide=endpoint.hide,
        )
        if tried or not (answer.status == 429 or answer.status >= 500) or is_used_up(answer):
            break
        time.sleep(PAUSE_SECONDS)
    return answer


def question(config: DistillSection, model: str) -> dict[str, Any]:
    """The request: a grey picture, three words, one token of answer."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "grey").save(file, "PNG")
    picture = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    content = [
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "text", "text": "Which colour? Answer in one word."},
    ]
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        **limits(config, config.temperature, THOUGHT_TOKENS if config.reasons else 1),
    }


def is_used_up(answer: web.Answer) -> bool:
    """Whether the account has no money left."""
    inner = answer.body.get("error") if isinstance(answer.body, dict) else None
    return isinstance(inner, dict) and inner.get("code") == "insufficient_quota"


def _key(endpoint: Endpoint) -> Mapping[str, str]:
    key = endpoint.current_key()
    return web.bearer(key) if endpoint.api_version is None else {"api-key": key}
