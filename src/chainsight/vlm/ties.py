"""Greedy choices that rounding could turn: made anew with nothing else in the batch.

Sums run in another order with every company that a row has, so its logits differ in their last
digits, and of two tokens that are equally likely up to there now one, now the other is larger.
Tokens further apart than GAP every company ranks alike; closer ones are ranked by a pass of the
one row, whole and alone, which no batch changes. So greedy answers in float32 do not depend on
batch, order, blocks or shards (on one machine with one number of threads). In half precision
the digits are too few, ties too many: this is not done.

Letters in shapes: as in `sampling`.
"""

from collections.abc import Sequence

import torch

from chainsight.vlm import grouping
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.decoding import attending
from chainsight.vlm.prefix import IGNORED, Branch, Group
from chainsight.vlm.template import Row

GAP = 1e-5
"""Of the largest logit by amount. Rounding moves logits by some 1e-7 to 1e-6 of it
(docs/performance.md)."""


def close(logits: torch.Tensor) -> torch.Tensor:
    """Whether the two most likely tokens are too close to call, [R], of logits [R, V]."""
    first, second = logits.topk(2).values.unbind(-1)
    largest = logits.masked_fill(logits.isinf(), 0).abs().amax(-1)
    return first - second < GAP * largest


@torch.inference_mode()
def settled(loaded: Loaded, row: Row, written: Sequence[int]) -> int:
    """The token after `written`."""
    logits = alone(loaded, row, written)
    logits[loaded.template.image_id] = -torch.inf  # it would stand for pixels
    return int(logits.argmax())


@torch.inference_mode()
def alone(loaded: Loaded, row: Row, written: Sequence[int]) -> torch.Tensor:
    """Logits of that token, [V], computed from the first token of the prompt on, alone."""
    branch = Branch(written, [IGNORED] * len(written))
    group = Group(row.prompt_ids, (branch,), row.images, row.key)
    batch = grouping.batch(loaded, [group]).to(loaded.device)
    last = torch.tensor([len(group) - 1], device=loaded.device)
    with attending(loaded.family.language_model(loaded.model)):
        output = loaded.model(**batch.arguments() | {"logits_to_keep": last})
    found: torch.Tensor = output.logits[0, -1].float()
    return found
