"""Keys: where each one is found, read anew when it may have changed, and kept out of all texts.

A key is looked for in the file that the configuration names, in the environment variable, and in
a file of the variable's name in the folder where a pod has the teacher's secret. Whoever quotes
what a server said passes it through `hide` or `clean` first: some echo the key.
"""

import base64
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chainsight.errors import ConfigError

NO_KEY = "none"
"""Sent to an endpoint of one's own that has no key."""
MOUNTED = Path("/etc/chainsight/teacher")
"""Where a pod has the secret that `platform.teacher_secret` names: a file per entry."""
HIDDEN = "[key]"
SECRET_LENGTH = 16
"""A shorter key may be a word of an answer, which it must not be cut out of."""


@dataclass(frozen=True)
class Key:
    """A key and where it is; only the latter is ever said."""

    value: str = field(repr=False)
    place: str
    """For messages: "the environment variable OPENAI_API_KEY"."""
    file: Path | None = None
    """Read again for each request, so that a rotated secret counts; none: from the environment."""


def find(
    variable: str, file: str | None, environment: Mapping[str, str], mounted: Path = MOUNTED
) -> Key:
    """The key that `file`, else `variable`, else the mounted secret holds; empty if none does.

    Raises:
        ConfigError: the file cannot be read or is empty, or no header can carry what it holds.
    """
    if file:
        return _from_file(Path(file).expanduser())
    if environment.get(variable, "").strip():
        place = f"the environment variable {variable}"
        return Key(_checked(environment[variable], place), place)
    if (mounted / variable).is_file():
        return _from_file(mounted / variable)
    return Key("", f"the environment variable {variable}")


def read(file: Path) -> str:
    """The key in `file`, without the white space around it.

    Raises:
        ConfigError: the file cannot be read or is empty, or no header can carry what it holds.
    """
    try:
        text = file.read_bytes().decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(
            f"the file {file}: the teacher's key cannot be read ({error.strerror})"
        ) from None
    return _checked(text, f"the file {file}")


def _from_file(file: Path) -> Key:
    key = Key(read(file), f"the file {file}", file)
    if not key.value:
        raise ConfigError(f"{key.place} is empty; write the teacher's API key into it")
    return key


def _checked(text: str, place: str) -> str:
    key = text.strip()
    if not (key.isascii() and key.isprintable()) or " " in key or "\ufffd" in key:
        raise ConfigError(
            f"{place}: not a key (spaces or unprintable characters in it); put the teacher's API "
            "key alone there"
        )
    return key


def hide(text: str, key: str) -> str:
    """`text` without the key: plain, escaped for a URL, or inside anything in base64."""
    if key == NO_KEY:
        return text
    for form in forms(key):
        text = text.replace(form, HIDDEN)
    return text


@functools.cache
def forms(key: str) -> tuple[str, ...]:
    """What a key looks like where it is quoted. Base64 has three, by what stands before it."""
    plain = [key, quote(key, safe="")]
    if len(key) < SECRET_LENGTH:
        return tuple(dict.fromkeys(plain))
    cores = [_core(key.encode(), before) for before in range(3)]
    safe = [core.translate(str.maketrans("+/", "-_")) for core in cores]
    return tuple(dict.fromkeys(plain + cores + safe))


def _core(key: bytes, before: int) -> str:
    """The base64 digits that depend on the key alone, with `before` other bytes in front."""
    digits = base64.b64encode(bytes(before) + key).decode().rstrip("=")
    whole = (before + len(key)) % 3 == 0
    return digits[(0, 2, 3)[before] : None if whole else -1]


def clean(answer: Any, key: str) -> Any:
    """A parsed answer whose texts echo no key."""
    if len(key) < SECRET_LENGTH:
        return answer
    if isinstance(answer, str):
        return hide(answer, key)
    if isinstance(answer, list):
        return [clean(item, key) for item in answer]
    if isinstance(answer, dict):
        return {hide(name, key): clean(value, key) for name, value in answer.items()}
    return answer
