"""Where the teacher is, and the address under which the ledger keeps an answer of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from chainsight.config import DistillSection
from chainsight.errors import ConfigError
from chainsight.prompts import teacher_prompt, teacher_system
from chainsight.records import Example
from chainsight.teacher import images

NO_KEY = "none"
"""Sent to an endpoint of one's own when the environment holds no key."""


@dataclass(frozen=True)
class Endpoint:
    """Where the teacher is, and the key for it."""

    identity: str
    """Who answers, for the ledger: two endpoints of one identity share answers."""
    base_url: str | None
    key: str = field(repr=False)
    """Sent as bearer token; a placeholder where none is wanted."""


def resolve(config: DistillSection, environment: Mapping[str, str]) -> Endpoint:
    """The endpoint of `openai` or of a base URL, with the key from the environment.

    Raises:
        ConfigError: no key for `openai`, a key that no header can carry, a broken URL.
    """
    key = environment.get(config.api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"environment variable {config.api_key_env}: not a key (spaces or unprintable "
            "characters in it); set it to the teacher's API key alone"
        )
    if config.teacher == "openai":
        if not key:
            raise ConfigError(
                f"distill.teacher is openai, but the environment variable {config.api_key_env} is "
                "not set; set it, name another in distill.api_key_env, or write teacher: scripted"
            )
        url = environment.get("OPENAI_BASE_URL")  # which the openai client obeys
        if not url:
            return Endpoint("openai", None, key)
        return Endpoint(f"openai {_checked_url(url, 'OPENAI_BASE_URL')}", url, key)
    identity = _checked_url(config.teacher, "distill.teacher")
    return Endpoint(identity, config.teacher, key or NO_KEY)


def _checked_url(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or parts.username:
        raise ConfigError(
            f"{name}: not a base URL such as http://host:port/v1 (credentials go into the "
            "variable that distill.api_key_env names)"
        )
    return url.rstrip("/")


def request_key(config: DistillSection, endpoint: Endpoint, example: Example) -> str:
    """The content address of what `example` asks of this teacher.

    Images enter by their original bytes and by how they are sent, which decide the bytes sent,
    so that finding an answer in the ledger does not cost an encoding.

    Raises:
        RecordError: an image is none.
    """
    sent = [_sent(image, config) for image in example.images]
    asked: dict[str, Any] = {
        "teacher": endpoint.identity,
        "model": config.teacher_model,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "system": teacher_system(example),
        "prompt": teacher_prompt(example),
        **(sent[0] if sent else {}),
    }
    if (
        len(sent) > 1
    ):  # one image's key is as it was before there were several: its answers are paid
        asked["more"] = sent[1:]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _sent(image: bytes, config: DistillSection) -> dict[str, str]:
    return {
        "image": hashlib.sha256(image).hexdigest(),
        "sent": images.plan(image, config.image_max_side).describe(),
    }
