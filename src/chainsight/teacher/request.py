"""What a teacher is asked, to the byte, and the address under which its answer is kept.

Both ways to ask (one by one, in batches) send the same body under the same key, so that they
share answers.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainsight.config import DistillSection
from chainsight.prompts import segments, teacher_prompt, teacher_system
from chainsight.records import Example
from chainsight.teacher import images


@dataclass(frozen=True)
class Variant:
    """Which of the questions about an example this is: 0 is the first, others are retries."""

    number: int
    temperature: float


@dataclass(frozen=True)
class Question:
    """A request that may be sent: its address, and what it is made of when it is."""

    key: str
    example: Example
    variant: Variant


def first(config: DistillSection) -> Variant:
    """How an example is asked about first."""
    return Variant(0, config.temperature)


def request_key(
    config: DistillSection, identity: str, example: Example, variant: Variant | None = None
) -> str:
    """The content address of what `example` asks of the teacher `identity`, hex sha256.

    Images enter by their original bytes and by how they are sent, which decide the bytes sent,
    so that finding an answer in the ledger does not cost an encoding.

    Raises:
        RecordError: an image is none.
    """
    variant = variant or first(config)
    sent = [_sent(image, config) for image in example.images]
    asked: dict[str, Any] = {
        "teacher": identity,
        "model": config.teacher_model,
        "max_tokens": config.max_tokens,
        "temperature": variant.temperature,
        "system": teacher_system(example),
        "prompt": teacher_prompt(example),
        **(sent[0] if sent else {}),
    }
    # What came later enters where it is not the default: paid answers keep their address.
    later = {
        "more": sent[1:],
        "n": config.samples if config.samples > 1 else 0,
        "variant": variant.number,
        "detail": "" if config.image_detail == "auto" else config.image_detail,
        "reasons": config.reasons,
    }
    asked |= {name: value for name, value in later.items() if value}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _sent(image: bytes, config: DistillSection) -> dict[str, str]:
    return {
        "image": hashlib.sha256(image).hexdigest(),
        "sent": images.planned(image, config).describe(),
    }


def body(config: DistillSection, question: Question, model: str) -> dict[str, Any]:
    """The chat completion request; `model` is the teacher's name at the place that is asked.

    Raises:
        RecordError: an image's data are damaged.
    """
    example = question.example
    urls = [images.data_url(image, images.planned(image, config)) for image in example.images]
    content = _content(teacher_prompt(example), urls, config.image_detail)
    asked: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": teacher_system(example)},
            {"role": "user", "content": content},
        ],
        **limits(config, question.variant.temperature, config.max_tokens),
    }
    return asked | ({"n": config.samples} if config.samples > 1 else {})


def payload(config: DistillSection, question: Question, model: str) -> bytes:
    """The request's body as bytes, laid out as the openai client would.

    Raises:
        RecordError: an image's data are damaged.
    """
    asked = body(config, question, model)
    laid_out = {name: asked.pop(name) for name in ("messages", "model")} | dict(
        sorted(asked.items())
    )
    return json.dumps(laid_out, separators=(",", ":"), ensure_ascii=False).encode()


def limits(config: DistillSection, temperature: float, max_tokens: int) -> dict[str, Any]:
    """How long an answer may be and how it is drawn, in the words that the teacher takes.

    OpenAI's reasoning models answer HTTP 400 to `max_tokens`, and to another temperature than
    theirs. vLLM, Azure and compatible servers take either, but old ones only `max_tokens`.
    """
    if config.reasons:
        return {"max_completion_tokens": max_tokens}
    return {"max_tokens": max_tokens, "temperature": temperature}


def _content(prompt: str, urls: Sequence[str], detail: str) -> list[dict[str, Any]]:
    """The user turn: text, and images where it shows them."""
    said = {} if detail == "auto" else {"detail": detail}
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": urls[part], **said}}
        for part in segments(prompt, len(urls))
    ]
