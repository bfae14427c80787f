"""What the engine must know of a model family, one file each. A further one is one more file."""

from typing import Any

from chainsight.errors import CheckpointError
from chainsight.vlm.families.base import Family
from chainsight.vlm.families.llava import LLAVA

FAMILIES: dict[str, Family] = {"llava": LLAVA, "llava_next": LLAVA}
"""By `model_type` of the configuration."""


def of(config: Any) -> Family:
    """The family of a model's configuration.

    Raises:
        CheckpointError: none is known.
    """
    found = FAMILIES.get(config.model_type)
    if found is None:
        raise CheckpointError(
            f"model_type {config.model_type!r} is not among the families that share prompts: "
            f"{', '.join(FAMILIES)}; see chainsight/vlm/families for what one more takes"
        )
    return found


__all__ = ["FAMILIES", "Family", "of"]
