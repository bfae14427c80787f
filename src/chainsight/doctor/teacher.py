"""The teacher: reached, the key taken, the model there; if wished, one answer of one token."""

import base64
import io
import os
import time
from collections.abc import Mapping
from typing import Any

from PIL import Image

from chainsight.config import DistillSection
from chainsight.doctor import web
from chainsight.doctor.check import Check, Checks, Where, fail, ok, wanting, warn
from chainsight.errors import ConfigError
from chainsight.teacher.cost import price_of
from chainsight.teacher.endpoint import NO_KEY, Endpoint, resolve

OPENAI_URL = "https://api.openai.com/v1"
ANSWER_SECONDS = 20.0
PAUSE_SECONDS = 1.0
SIDE = 64
"""Pixels of the picture that is asked about: small, but not below what vision models take."""


def teacher(
    config: DistillSection,
    where: Where,
    spend: bool,
    environment: Mapping[str, str] = os.environ,
) -> Checks:
    """The list of models, which is free; with `spend` also a question, for well below a cent."""
    if config.teacher == "scripted":
        yield ok("teacher", "scripted: started for the stage, free")
        return
    if config.teacher == "published":
        yield ok("teacher", "published: the examples bring their rationales, nobody is asked")
        return
    try:
        endpoint = resolve(config, environment)[0]
    except ConfigError as error:
        missing = config.teacher == "openai" and not environment.get(config.api_key_env)
        yield _keyless(config, where) if missing else _broken(config, error)
        return
    if where == "here" and web.of_the_cluster(endpoint.base_url or ""):
        yield warn(
            "teacher",
            f"{endpoint.base_url} answers inside its cluster only; not asked from here",
            "run the doctor in the cluster (a run's first task does), or forward the port",
        )
        return
    yield _asked(config, endpoint) if spend else _listed(config, endpoint)


def _keyless(config: DistillSection, where: Where) -> Check:
    place = "this pod" if where == "pod" else "this shell"
    return Check(
        "teacher",
        wanting(where),
        f"{config.api_key_env} is not set in {place}, and distill needs it",
        f"set {config.api_key_env} (on a cluster: the secret that platform.teacher_secret names), "
        "or write distill.teacher: scripted",
    )


def _broken(config: DistillSection, error: ConfigError) -> Check:
    return fail(
        "teacher",
        str(error),
        f"correct distill.teacher or the variable {config.api_key_env}",
    )


def _listed(config: DistillSection, endpoint: Endpoint) -> Check:
    url = _url(endpoint)
    answer = web.call(f"{url}/models", headers=web.bearer(endpoint.key))
    if answer.status in (404, 405, 501):
        return warn(
            "teacher",
            f"{url} answers, but lists no models (HTTP {answer.status})",
            "let the doctor ask it one question (--spend)",
        )
    if not answer.good:
        return _refused(config, endpoint, answer)
    names = _names(answer.body)
    if config.teacher_model in names:
        return ok("teacher", f"{url}: takes the key, has {config.teacher_model}; not asked")
    listed = ", ".join(sorted(names)[:8]) or "none"
    return fail(
        "teacher",
        f"{url} has no model {config.teacher_model!r}; it lists {listed}",
        "correct distill.teacher_model; if it is served without being listed, use --spend",
    )


def _names(body: Any) -> set[str]:
    listed = body.get("data") if isinstance(body, dict) else None
    entries = listed if isinstance(listed, list) else []
    return {str(entry.get("id")) for entry in entries if isinstance(entry, dict)}


def _asked(config: DistillSection, endpoint: Endpoint) -> Check:
    """One real question, as distill asks: a picture, a text, the same limits' names."""
    answer = _answer(config, endpoint)
    if answer.status == 429 and not _used_up(answer):
        return warn(
            "teacher",
            f"{_url(endpoint)} is busy ({answer.said})",
            "distill waits and tries again; lower distill.concurrency if others use the account",
        )
    if not answer.good:
        return _refused(config, endpoint, answer)
    if not (isinstance(answer.body, dict) and answer.body.get("choices")):
        return fail(
            "teacher",
            f"{_url(endpoint)}: not a chat completion ({answer.said[:80]!r})",
            "correct distill.teacher: a base URL of OpenAI's protocol, which ends in /v1",
        )
    return ok(
        "teacher", f"{_url(endpoint)}: {config.teacher_model} answered {_bill(config, answer)}"
    )


def _answer(config: DistillSection, endpoint: Endpoint) -> web.Answer:
    """The answer to one question; a busy or stumbling teacher is asked a second time."""
    body = question(config)
    for tried in range(2):
        answer = web.call(
            f"{_url(endpoint)}/chat/completions",
            headers=web.bearer(endpoint.key),
            body=body,
            timeout_seconds=min(ANSWER_SECONDS, config.timeout_seconds),
        )
        if tried or not (answer.status == 429 or answer.status >= 500) or _used_up(answer):
            break
        time.sleep(PAUSE_SECONDS)
    return answer


def question(config: DistillSection) -> dict[str, Any]:
    """The request: a grey picture, three words, one token of answer."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "grey").save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "Which colour? Answer in one word."},
    ]
    return {
        "model": config.teacher_model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "temperature": config.temperature,
    }


def _bill(config: DistillSection, answer: web.Answer) -> str:
    usage = answer.body.get("usage") or {}
    prompt, completion = (
        int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion")
    )
    price = price_of(config)
    dollars = (prompt * price.prompt + completion * price.completion) / 1e6
    return f"({prompt} + {completion} tokens, at list price ${dollars:.4f})"


def _refused(config: DistillSection, endpoint: Endpoint, answer: web.Answer) -> Check:
    """A failure by its HTTP status, the key kept out of what is said."""
    status, url = answer.status, _url(endpoint)
    said = answer.said if endpoint.key == NO_KEY else answer.said.replace(endpoint.key, "[key]")
    finding, way_out = f"{url} fails with HTTP {status} ({said})", "try again when it is mended"
    if status == 0:
        finding = f"{url} cannot be reached ({said})"
        way_out = "start it, correct distill.teacher, or open the network to it"
    elif status in (401, 403):
        finding = f"{url} refuses the key in {config.api_key_env} ({said})"
        way_out = "set a valid key there, or name another variable in distill.api_key_env"
    elif status == 402 or _used_up(answer):
        finding = f"{url}: the account of the key in {config.api_key_env} is used up ({said})"
        way_out = "top it up"
    elif status == 404:
        finding = f"{url}: no model {config.teacher_model!r}, or no such address ({said})"
        way_out = "correct distill.teacher_model, or distill.teacher, which ends in /v1"
    elif status < 500:
        finding = f"{url} refuses such a question: HTTP {status} ({said})"
        way_out = (
            "choose a distill.teacher_model that takes images and the parameters max_tokens and "
            "temperature"
        )
    return fail("teacher", finding, way_out)


def _used_up(answer: web.Answer) -> bool:
    inner = answer.body.get("error") if isinstance(answer.body, dict) else None
    return isinstance(inner, dict) and inner.get("code") == "insufficient_quota"


def _url(endpoint: Endpoint) -> str:
    return (endpoint.base_url or OPENAI_URL).rstrip("/")
