"""What is known of teachers: how many tokens their images take (and soon, what they charge)."""

from collections.abc import Callable

from chainsight.config import DistillSection
from chainsight.inventory import tokens

Rule = Callable[[int, int], int]
"""Tokens of an image of this width and height, as it is sent."""


def image_rule(config: DistillSection) -> Rule | None:
    """How the teacher counts images; None: not known."""
    model = config.teacher_model
    if config.image_detail == "low" and model.startswith("gpt-4o"):
        return lambda _width, _height: 85
    if model.startswith("gpt-4o-mini"):
        return tokens.gpt_4o_mini
    if config.teacher == "scripted" or model.startswith("gpt-4o"):
        return tokens.gpt_4o
    return None
