"""LLaVA-1.5 and LLaVA-NeXT: a CLIP tower, a projector, a language model with plain positions."""

from chainsight.vlm.families.base import Family

LLAVA = Family()
