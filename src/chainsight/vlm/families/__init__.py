"""What the engine must know of a model family, one file each. A further one is one more file.

docs/families.md has the checkpoints, and how a family is added.
"""

from typing import Any

from chainsight.errors import CheckpointError
from chainsight.vlm.families.base import Family
from chainsight.vlm.families.llava import LLAVA
from chainsight.vlm.families.qwen import QWEN

FAMILIES: dict[str, Family] = {
    "llava": LLAVA,
    "llava_next": LLAVA,
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
}
"""By `model_type` of the configuration."""


def of(config: Any) -> Family:
    """The family of a model's configuration.

    Raises:
        CheckpointError: none is known.
    """
    return named(config.model_type)


def named(model_type: str | None) -> Family:
    """The family of a `model_type`.

    Raises:
        CheckpointError: none is known.
    """
    found = FAMILIES.get(model_type or "")
    if found is None:
        raise CheckpointError(
            f"model_type {model_type!r} is none of the families that are known here: "
            f"{', '.join(FAMILIES)}; use one of them, or add it (docs/families.md)"
        )
    return found


__all__ = ["FAMILIES", "Family", "named", "of"]
