"""What the scripted teacher says: a chat completion for a request, and what it would cost.

The text of an answer hangs on the behaviour's seed, the prompt and the images; above temperature
0 also on the temperature, on which choice of `n` it is, and on the request's own `seed` or else on
how often the same body was billed before, so that asking again can give another answer.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from chainsight.demo import rationales
from chainsight.demo.teacher.behaviour import Behaviour
from chainsight.demo.teacher.reading import TOKENS_PER_WORD, Asked, tokens
from chainsight.demo.teacher.wire import Problem
from chainsight.prompts import MARKER

SORRY = "I'm sorry, but I can't assist with that request."
FILLER = "Looking at the picture once more does not change what has been seen so far. "
REPEATS, LONG_WORDS = 12, 2000
POLICIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Your request was rejected by our safety system.", "content_policy_violation", {}),
    (
        "The prompt triggered Azure OpenAI's content management policy.",
        "content_filter",
        {"param": "prompt", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
    ),
)
"""Message, code and what else is said by OpenAI and by Azure."""


@dataclass(frozen=True)
class Written:
    """One choice."""

    text: str | None
    finish_reason: str = "stop"
    refusal: str | None = None
    completion_tokens: int = 0


@dataclass(frozen=True)
class Response:
    """A chat completion, and the tokens it is billed at, which `usage` may not tell."""

    body: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int


def respond(asked: Asked, behaviour: Behaviour, digest: str, earlier: int) -> Response:
    """The answer to a request whose body was billed `earlier` times before.

    Raises:
        Problem: HTTP 400, where it offends the policy.
    """
    seeds = [answer_seed(asked, behaviour, earlier, choice) for choice in range(asked.choices)]
    oddities = [draw(behaviour.oddities, f"odd/{seed}") for seed in seeds]
    if "policy" in oddities:
        message, code, more = random.Random(seeds[0]).choice(POLICIES)
        raise Problem(400, message, code=code, kind="invalid_request_error", more=more)
    written = [
        write(asked, behaviour, seed, oddity) for seed, oddity in zip(seeds, oddities, strict=True)
    ]
    body = completion(asked, digest, written, usage="no_usage" not in oddities)
    return Response(body, asked.prompt_tokens, sum(one.completion_tokens for one in written))


def draw(rates: Any, seed: str) -> str:
    """The name of one of the rates (fields between 0 and 1), or "", by a seeded draw."""
    point = random.Random(seed).random()
    for rate in fields(rates):
        value = getattr(rates, rate.name)
        if not isinstance(value, float) or rate.name.endswith("_seconds"):
            continue
        if point < value:
            return rate.name
        point -= value
    return ""


def answer_seed(asked: Asked, behaviour: Behaviour, earlier: int, choice: int) -> str:
    """What the answer hangs on; `earlier` counts the same body's earlier tries."""
    # Not the body, whose layout is the client library's: demo results outlive an upgrade.
    shown = "/".join(hashlib.sha256(image).hexdigest() for image in asked.images)
    seed = f"{behaviour.seed}/{asked.prompt}/{shown}"
    if not asked.temperature:
        return seed
    again = earlier if asked.seed is None else f"seed {asked.seed}"
    return f"{seed}/{asked.temperature:g}/{again}/{choice}"


def write(asked: Asked, behaviour: Behaviour, seed: str, oddity: str) -> Written:
    """One choice, odd as `oddity` says, and cut at `max_tokens`."""
    if oddity == "refusal":
        return Written(None, "stop", SORRY, tokens(SORRY))
    image = asked.images[0] if asked.images else b""
    text = rationales.write(asked.prompt, image, behaviour.error_rate, seed)
    text = _odd(text, oddity)
    if oddity in ("content_filter", "length"):
        text = text[: len(text) // 2]
        finish = oddity
    else:
        text, finish = _cut(text, asked.max_tokens)
    return Written(text, finish, None, tokens(text))


def _odd(text: str, oddity: str) -> str:
    reason, marker, answer = text.partition(MARKER)
    if oddity == "answer_first":
        return f"{answer.strip()}. {text}"
    if oddity == "repetitive":
        return f"{reason.rstrip()} " * REPEATS + f"\n\n{marker}{answer}"
    if oddity == "long":
        more = FILLER * (LONG_WORDS // len(FILLER.split()) + 1)
        return f"{reason.rstrip()} {more}\n\n{marker}{answer}"
    return text


def _cut(text: str, max_tokens: int | None) -> tuple[str, str]:
    if max_tokens is None or tokens(text) <= max_tokens:
        return text, "stop"
    return " ".join(text.split()[: int(max_tokens / TOKENS_PER_WORD)]), "length"


def completion(
    asked: Asked, digest: str, written: Sequence[Written], *, usage: bool = True
) -> dict[str, Any]:
    """A chat completion with deterministic id and token counts."""
    used = sum(one.completion_tokens for one in written)
    response = {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": 0,
        "model": asked.model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": one.text, "refusal": one.refusal},
                "finish_reason": one.finish_reason,
            }
            for index, one in enumerate(written)
        ],
    }
    counts = {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": used,
        "total_tokens": asked.prompt_tokens + used,
    }
    return response | ({"usage": counts} if usage else {})
