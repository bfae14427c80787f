"""Where the teacher is, and with which key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chainsight.config import DistillSection, Place
from chainsight.errors import ConfigError

NO_KEY = "none"
"""Sent to an endpoint of one's own when the environment holds no key."""


@dataclass(frozen=True)
class Endpoint:
    """A place where the teacher answers, the key for it, and what it lets us ask."""

    identity: str
    """Who answers, for the ledger: two endpoints of one identity share answers."""
    base_url: str | None
    key: str = field(repr=False)
    """Sent as bearer token; a placeholder where none is wanted."""
    model: str = ""
    """The teacher's name there."""
    api_version: str | None = None
    """Azure OpenAI's dated API; none: OpenAI's own protocol."""
    requests_per_minute: int | None = None
    """The account's limit; none: learned."""
    tokens_per_minute: int | None = None
    """The account's limit; none: learned."""


def resolve(config: DistillSection, environment: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The places to ask; the first one names the teacher in the ledger.

    Raises:
        ConfigError: no key for `openai`, a key that no header can carry, a broken URL.
    """
    return tuple(_place(config, place, environment) for place in (_main(config), *config.also))


def identity(config: DistillSection, environment: Mapping[str, str]) -> str:
    """Who answers, for the ledger; to be known without a key.

    Raises:
        ConfigError: a broken URL.
    """
    return _address(_main(config), environment)[0]


def _main(config: DistillSection) -> Place:
    shared = Place.model_fields.keys() & type(config).model_fields.keys()
    return Place(**{name: getattr(config, name) for name in shared})


def _place(config: DistillSection, place: Place, environment: Mapping[str, str]) -> Endpoint:
    variable = place.api_key_env or config.api_key_env
    key = environment.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"environment variable {variable}: not a key (spaces or unprintable "
            "characters in it); set it to the teacher's API key alone"
        )
    if place.teacher == "openai" and not key:
        raise ConfigError(
            f"distill.teacher is openai, but the environment variable {variable} is "
            "not set; set it, name another in distill.api_key_env, or write teacher: scripted"
        )
    identity, url = _address(place, environment)
    return Endpoint(
        identity,
        url,
        key or NO_KEY,
        model=place.teacher_model or config.teacher_model,
        api_version=place.api_version,
        requests_per_minute=place.requests_per_minute,
        tokens_per_minute=place.tokens_per_minute,
    )


def _address(place: Place, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """Who answers, and the base URL; none: the openai client's own."""
    if place.teacher != "openai":
        return _checked_url(place.teacher, "distill.teacher"), place.teacher
    url = environment.get("OPENAI_BASE_URL")  # which the openai client obeys
    return (f"openai {_checked_url(url, 'OPENAI_BASE_URL')}", url) if url else ("openai", None)


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
