"""Where the teacher is, and with which key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chainsight.config import DistillSection, Place
from chainsight.errors import ConfigError
from chainsight.teacher import keys
from chainsight.teacher.keys import MOUNTED, NO_KEY, Key, MissingKeyError

__all__ = ["NO_KEY", "Endpoint", "resolve"]

AZURE_DOMAINS = (".azure.com", ".azure.us", ".azure.cn")


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
    key_place: str = ""
    """Where the key is, for messages: "the environment variable OPENAI_API_KEY"."""
    key_file: Path | None = None
    """The file that holds it; none: it came from the environment."""

    @property
    def is_azure(self) -> bool:
        """Whether this is Azure OpenAI, by either of its protocols."""
        host = urlsplit(self.base_url or "").hostname or ""
        return self.api_version is not None or host.endswith(AZURE_DOMAINS)

    def current_key(self) -> str:
        """The key now: one in a file may have been replaced; while it is, the one of before."""
        if self.key_file is None:
            return self.key
        try:
            return keys.read(self.key_file) or self.key
        except ConfigError:
            return self.key

    def hide(self, text: str) -> str:
        """`text` without the keys that were sent here."""
        for key in {self.key, self.current_key()}:
            text = keys.hide(text, key)
        return text

    def clean(self, answer: Any) -> Any:
        """A parsed answer whose texts echo no key that was sent here."""
        for key in {self.key, self.current_key()}:
            answer = keys.clean(answer, key)
        return answer


def resolve(
    config: DistillSection, environment: Mapping[str, str], mounted: Path = MOUNTED
) -> tuple[Endpoint, ...]:
    """The places to ask; the first one names the teacher in the ledger.

    Raises:
        MissingKeyError: no key for `openai` or Azure.
        ConfigError: a key that no header can carry, a broken URL.
    """
    places = (_main(config), *config.also)
    return tuple(_place(config, place, environment, mounted) for place in places)


def identity(config: DistillSection, environment: Mapping[str, str]) -> str:
    """Who answers, for the ledger; to be known without a key.

    Raises:
        ConfigError: a broken URL.
    """
    return _address(_main(config), environment)[0]


def _main(config: DistillSection) -> Place:
    shared = Place.model_fields.keys() & type(config).model_fields.keys()
    return Place(**{name: getattr(config, name) for name in shared})


def _place(
    config: DistillSection, place: Place, environment: Mapping[str, str], mounted: Path
) -> Endpoint:
    identity, url = _address(place, environment)
    key = _key(config, place, environment, mounted)
    _wants_key(place, key)
    return Endpoint(
        identity,
        url,
        key.value or NO_KEY,
        model=place.teacher_model or config.teacher_model,
        api_version=place.api_version,
        requests_per_minute=place.requests_per_minute,
        tokens_per_minute=place.tokens_per_minute,
        key_place=key.place,
        key_file=key.file,
    )


def _key(
    config: DistillSection, place: Place, environment: Mapping[str, str], mounted: Path
) -> Key:
    """The place's own key; else the teacher's, but only for the host that it is meant for."""
    if place.api_key_env or place.api_key_file:
        variable = place.api_key_env or config.api_key_env
        return keys.find(variable, place.api_key_file, environment, mounted)
    if _host(place) != _host(_main(config)):
        return Key("", f"api_key_env of {place.teacher} in distill.also")
    return keys.find(config.api_key_env, config.api_key_file, environment, mounted)


def _host(place: Place) -> str | None:
    return None if place.teacher == "openai" else urlsplit(place.teacher).netloc


def _wants_key(place: Place, key: Key) -> None:
    """OpenAI and Azure answer nobody without one."""
    azure = place.api_version is not None
    if key.value or not (azure or place.teacher == "openai"):
        return
    who = f"Azure OpenAI at {place.teacher}" if azure else "openai"
    raise MissingKeyError(
        f"distill.teacher is {who}, but {key.place} is not set; set it, name another in "
        "distill.api_key_env or a file in distill.api_key_file, or write teacher: scripted"
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
