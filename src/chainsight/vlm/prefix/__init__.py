"""A prompt and its responses as one sequence: the prompt is computed once (architecture, idea 4).

`layout` puts groups of branches into one row of tokens, `attention` keeps the branches apart by
one of the `kernels`, `scores` reads the learned tokens' log-probabilities.
"""

from chainsight.vlm.prefix.attention import ATTENTION, KINDS, implementation, require
from chainsight.vlm.prefix.layout import IGNORED, Branch, Group, Layout, lay_out
from chainsight.vlm.prefix.scores import branch_sums, forward, score, token_logps

__all__ = [
    "ATTENTION",
    "IGNORED",
    "KINDS",
    "Branch",
    "Group",
    "Layout",
    "branch_sums",
    "forward",
    "implementation",
    "lay_out",
    "require",
    "score",
    "token_logps",
]
