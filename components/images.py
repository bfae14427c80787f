"""The container image of each task: what `docker/build.sh` recorded, or what is set instead.

`images.lock.json` in the current folder (`CHAINSIGHT_IMAGES_LOCK` names another) holds name@digest
for each stage. `CHAINSIGHT_IMAGE_PREFIX` replaces registry and path of every name, for a mirror:
digests stay. `CHAINSIGHT_IMAGE_<STAGE>` replaces one image. All are read when a pipeline is
compiled. Without a lock file images are `<prefix>chainsight-<stage>:<version>`.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainsight import __version__
from chainsight.errors import ConfigError
from chainsight.stages import STAGES

OWNERS: dict[str, str] = {stage: stage for stage in STAGES} | {
    # stages on demand
    "score": "evaluate",
    "verify": "evaluate",
    "adopt": "pair",
    "rft": "sft",
    # tasks that are no stage
    "doctor": "distill",
    "existing": "pair",
    "summarize": "register",
    "verification": "register",
    "collect": "register",
}
"""Whose image runs a task: a stage's own, or that of the stage which imports the same. Pages are
made in register's, which alone has the report's libraries."""

LOCK_FILE = "images.lock.json"
LOCK_VARIABLE = "CHAINSIGHT_IMAGES_LOCK"
PREFIX_VARIABLE = "CHAINSIGHT_IMAGE_PREFIX"
_PINNED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def image(task: str, environment: Mapping[str, str] = os.environ) -> str:
    """The image that runs a task (`OWNERS`).

    Raises:
        ConfigError: the lock file is missing where the environment names it, or is damaged.
    """
    stage = OWNERS[task]
    chosen = environment.get(f"CHAINSIGHT_IMAGE_{stage.upper()}")
    if chosen:
        return chosen
    prefix = environment.get(PREFIX_VARIABLE, "")
    locked = _locked(environment).get(stage)
    if locked is None:
        return f"{prefix}chainsight-{stage}:{__version__}"
    return prefix + locked.rpartition("/")[2] if prefix else locked


def pinned(image: str) -> bool:
    """Whether a digest says which image it is; a tag may point elsewhere tomorrow."""
    return _PINNED.fullmatch(image) is not None


def unpinned(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The images that bear no digest, by stage; see `pinned`."""
    images = {stage: image(stage, environment) for stage in STAGES}
    return {stage: name for stage, name in images.items() if not pinned(name)}


def require_pinned(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse images by tag.

    Raises:
        ConfigError: an image bears no digest.
    """
    loose = unpinned(environment)
    if loose:
        raise ConfigError(
            f"{len(loose)} images bear no digest ({', '.join(loose.values())}), so what runs may "
            f"change under the pipeline. Push them with docker/build.sh --push, which writes "
            f"{LOCK_FILE}, or set CHAINSIGHT_IMAGE_<STAGE>=name@sha256:...; --allow-tags takes "
            "them as they are"
        )


def _locked(environment: Mapping[str, str]) -> dict[str, str]:
    named = environment.get(LOCK_VARIABLE)
    path = Path(named or LOCK_FILE)
    if not named and not path.is_file():
        return {}
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{LOCK_VARIABLE} names {path}, which is not there") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: {error}; write it anew with docker/build.sh, or delete it to compile with "
            "tags"
        ) from None


def _read(content: Any) -> dict[str, str]:
    """Stage -> image, of a lock file's content; ValueError if it is none."""
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict):
        raise ValueError('no object "images" in it')
    unknown = [stage for stage in images if stage not in STAGES]
    if unknown:
        raise ValueError(f"no stage is called {unknown[0]!r}")
    return {stage: _name(stage, entry) for stage, entry in images.items()}


def _name(stage: str, entry: Any) -> str:
    name = entry.get("image") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise ValueError(f'"image" of {stage} is {name!r}, not a name')
    return name
