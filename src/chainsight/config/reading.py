"""A configuration file as plain values."""

from pathlib import Path
from typing import Any

import yaml

from chainsight.errors import ConfigError


def read_yaml(path: Path, what: str, wanted: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        path: the file.
        what: what it is called, where it is missing.
        wanted: the keys to expect, in words.

    Raises:
        ConfigError: the file is missing, not YAML or no mapping, or names a key twice.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Once)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}; see configs/ for complete ones") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected {wanted}; found {type(raw).__name__}")
    return raw


class _Once(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, of which YAML would keep the last in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name!r} is there twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)
