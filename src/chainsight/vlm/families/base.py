"""What differs between model families, with what most of them do.

Letters in shapes: P tokens of a prompt, S of a row, B rows, R rows that are decoded, A position
axes (1, or 3 for multimodal rotary positions: time, height, width).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch


class Family:
    """One architecture's names, positions and pictures."""

    axes = 1
    """A: numbers that say where a token is."""
    vision = re.compile(r"(^|\.)vision_tower\.")
    """Names of the vision tower's parameters."""
    projector = re.compile(r"(^|\.)(multi_modal_projector|image_newline)(\.|$)")
    """Names of what turns its features into the language model's."""

    def language_model(self, model: Any) -> Any:
        """The decoder stack of a whole model (unwrapped: no adapters, no parallel wrapper)."""
        return model.model.language_model

    def positions(
        self,
        config: Any,  # noqa: ARG002 - for families that place pictures in two dimensions
        prompt_ids: Sequence[int],
        pictures: Mapping[str, torch.Tensor],  # noqa: ARG002
    ) -> torch.Tensor:
        """Positions of a prompt's tokens, [A, P]; what follows goes on from the highest one.

        `pictures` are the image processor's tensors of the prompt's pictures.
        """
        return torch.arange(len(prompt_ids))[None]

    def position_ids(self, positions: torch.Tensor) -> torch.Tensor:
        """What the model takes as `position_ids`, from [A, B, S]: [B, S] for a single axis.

        Three axes stay three: of a fourth transformers would make the text's own positions, and
        see packed documents where they restart.
        """
        return positions[0] if len(positions) == 1 else positions

    def decoding_positions(self, places: torch.Tensor) -> torch.Tensor:
        """`position_ids` of one further token a row.

        Args:
            places: [R]. A row's first is one above the highest of its prompt's `positions`: below
                the prompt's length, if that holds pictures of several axes.
        """
        return self.position_ids(places[None, :, None].expand(self.axes, -1, 1))

    def encode(self, model: Any, pictures: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """`mm_encoder_outputs` for forward passes that share the pictures' features.

        Make a new one for each batch: transformers writes into an empty one that it is given.
        """
        if "pixel_values" not in pictures:
            return {}
        return {"image": model.get_image_features(**pictures, return_dict=True)}
