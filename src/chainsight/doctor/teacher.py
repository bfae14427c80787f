"""The teacher, at each place: reached, the key taken, the model there; if wished, one answer."""

import os
import stat
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from chainsight.config import DistillSection
from chainsight.doctor import teacher_api as api
from chainsight.doctor import web
from chainsight.doctor.check import Check, Checks, Where, fail, ok, told, wanting, warn
from chainsight.errors import ConfigError
from chainsight.teacher.cost import price_of
from chainsight.teacher.endpoint import NO_KEY, Endpoint, resolve
from chainsight.teacher.keys import MissingKeyError

PROMPT_TOKENS = 1024
"""What a question with its picture takes of a context at least."""


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
        endpoints = resolve(config, environment)
    except MissingKeyError as error:
        yield _keyless(error, where)
        return
    except ConfigError as error:
        yield told("teacher", error)
        return
    for endpoint in endpoints:
        yield from _place(config, endpoint, where, spend)
    if config.mode == "batch" and not _is_away(endpoints[0], where):
        yield _batches(endpoints[0])


def _keyless(error: MissingKeyError, where: Where) -> Check:
    pod = "the secret that platform.teacher_secret names is mounted"
    place = f"this pod, where {pod}" if where == "pod" else "this shell"
    return Check(
        "teacher",
        wanting(where),
        f"{str(error).partition('; ')[0]} in {place}",
        "set it (on a cluster: as an entry of the secret that platform.teacher_secret names), or "
        "write distill.teacher: scripted",
    )


def _place(config: DistillSection, endpoint: Endpoint, where: Where, spend: bool) -> Checks:
    if _is_away(endpoint, where):
        yield warn(
            "teacher",
            f"{endpoint.base_url} answers inside its cluster only; not asked from here",
            "run the doctor in the cluster (a run's first task does), or forward the port",
        )
        return
    yield _asked(config, endpoint) if spend else _listed(config, endpoint)
    yield from _exposed(endpoint, where)


def _is_away(endpoint: Endpoint, where: Where) -> bool:
    return where == "here" and web.of_the_cluster(endpoint.base_url or "")


def _exposed(endpoint: Endpoint, where: Where) -> Checks:
    """A key that others can read: in its file, or on its way."""
    file = endpoint.key_file
    if file and where == "here" and file.stat().st_mode & stat.S_IROTH:
        yield warn("teacher", f"everybody here may read {file}, a key", f"chmod 600 {file}")
    parts = urlsplit(endpoint.base_url or "")
    near = parts.hostname in web.LOCAL or web.of_the_cluster(endpoint.base_url or "")
    if endpoint.key != NO_KEY and parts.scheme == "http" and not near:
        yield warn(
            "teacher",
            f"{api.address(endpoint)} gets the key of {endpoint.key_place} unencrypted",
            "write https://, or take the key away if it wants none",
        )


def _listed(config: DistillSection, endpoint: Endpoint) -> Check:
    url, answer = api.address(endpoint), api.get(endpoint, "/models")
    if answer.status in (404, 405, 501):
        return warn(
            "teacher",
            f"{url} answers, but lists no models (HTTP {answer.status})",
            "let the doctor ask it one question (--spend)",
        )
    if not answer.good:
        return _refused(endpoint, answer)
    if endpoint.is_azure:
        name = endpoint.model
        return ok("teacher", f"{url}: takes the key; deployment {name} not asked (--spend does)")
    models = _models(answer.body)
    if endpoint.model in models:
        return _roomy(config, endpoint, models[endpoint.model])
    listed = ", ".join(sorted(models)[:8]) or "none"
    return fail(
        "teacher",
        f"{url} has no model {endpoint.model!r}; it lists {listed}",
        "correct distill.teacher_model; if it is served without being listed, use --spend",
    )


def _models(body: Any) -> dict[str, dict[str, Any]]:
    listed = body.get("data") if isinstance(body, dict) else None
    entries = listed if isinstance(listed, list) else []
    return {str(entry.get("id")): entry for entry in entries if isinstance(entry, dict)}


def _roomy(config: DistillSection, endpoint: Endpoint, model: Mapping[str, Any]) -> Check:
    """vLLM says how long a question and its answer may be together."""
    longest = model.get("max_model_len")
    if isinstance(longest, int) and longest < config.max_tokens + PROMPT_TOKENS:
        return warn(
            "teacher",
            f"{api.address(endpoint)}: {endpoint.model} takes {longest} tokens, too few for a "
            f"question and an answer of distill.max_tokens, {config.max_tokens}",
            "lower distill.max_tokens, or serve the model with a longer --max-model-len",
        )
    return ok("teacher", f"{api.address(endpoint)}: takes the key, has {endpoint.model}; not asked")


def _asked(config: DistillSection, endpoint: Endpoint) -> Check:
    """One real question, as distill asks: a picture, a text, the same limits' names."""
    url, answer = api.address(endpoint), api.ask(config, endpoint)
    if answer.status == 429 and not api.is_used_up(answer):
        return warn(
            "teacher",
            f"{url} is busy ({answer.said})",
            "distill waits and tries again; lower distill.concurrency if others use the account",
        )
    if not answer.good:
        return _refused(endpoint, answer)
    if not (isinstance(answer.body, dict) and answer.body.get("choices")):
        return fail(
            "teacher",
            f"{url}: not a chat completion ({answer.said[:80]!r})",
            "correct distill.teacher: a base URL of OpenAI's protocol, which ends in /v1",
        )
    said = f"{url}: {endpoint.model} answered {_bill(config, answer)}"
    return ok("teacher", f"{said}{_pace(answer.headers)}")


def _pace(headers: Mapping[str, str]) -> str:
    """What the account may ask in a minute, by the answer's headers; "" if they are silent."""
    limits = [headers.get(f"x-ratelimit-limit-{kind}", "") for kind in ("tokens", "requests")]
    if not all(limit.isdecimal() and int(limit) for limit in limits):
        return ""
    tokens, requests = map(int, limits)
    minutes = 1000 / min(requests, tokens / 1000)
    return (
        f"; {tokens:,} tokens and {requests:,} requests a minute, so 1,000 questions of 1,000 "
        f"tokens take {minutes:.2g} min"
    )


def _bill(config: DistillSection, answer: web.Answer) -> str:
    usage = answer.body.get("usage") or {}
    prompt, completion = (
        int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion")
    )
    price = price_of(config)
    dollars = (prompt * price.prompt + completion * price.completion) / 1e6
    return f"({prompt} + {completion} tokens, at list price ${dollars:.4f})"


def _batches(endpoint: Endpoint) -> Check:
    """Whether there is a Batch API; looking at the list of batches is free."""
    url, answer = api.address(endpoint), api.get(endpoint, "/batches", "limit=1")
    if answer.good:
        return ok("teacher", f"{url}: has the Batch API")
    if answer.status in (404, 405, 501):
        return fail(
            "teacher",
            f"{url} has no Batch API (HTTP {answer.status})",
            "write distill.mode: sync, or a place that has one",
        )
    return _refused(endpoint, answer)


def _refused(endpoint: Endpoint, answer: web.Answer) -> Check:
    """A failure by its HTTP status."""
    status, url, said = answer.status, api.address(endpoint), answer.said
    finding, way_out = f"{url} fails with HTTP {status} ({said})", "try again when it is mended"
    if status == 0:
        finding = f"{url} cannot be reached ({said})"
        way_out = "start it, correct distill.teacher, or open the network to it"
    elif status in (401, 403):
        finding = f"{url} refuses the key in {endpoint.key_place} ({said})"
        way_out = "set a valid key there, or name another variable in distill.api_key_env"
    elif status == 402 or api.is_used_up(answer):
        finding = f"{url}: the account of the key in {endpoint.key_place} is used up ({said})"
        way_out = "top it up"
    elif status == 404:
        finding = f"{url}: no model {endpoint.model!r}, or no such address ({said})"
        way_out = "correct distill.teacher_model, or distill.teacher, which ends in /v1"
    elif status < 500:
        finding = f"{url} refuses such a question: HTTP {status} ({said})"
        way_out = _other_parameters(said)
    return fail("teacher", finding, way_out)


def _other_parameters(said: str) -> str:
    """A reasoning model's refusal names the parameter; any other is about pictures, or itself."""
    if "max_completion_tokens" in said or "temperature" in said:
        return "write distill.reasoning: true, and raise distill.max_tokens: thoughts count"
    return (
        "choose a distill.teacher_model that takes images and the parameters max_tokens and "
        "temperature"
    )
