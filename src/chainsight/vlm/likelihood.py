"""Log-probabilities of answers, all of one question in one pass: P + the answers' tokens.

Computed by what trains (`prefix`), whichever engine drew the answers: engines round otherwise, and
what DPO subtracts later comes from here.
"""

from collections.abc import Sequence

import torch

from chainsight.vlm import grouping, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.decoding import attending
from chainsight.vlm.prefix import Branch, Group
from chainsight.vlm.template import Row


def logprobs(loaded: Loaded, row: Row, answers: Sequence[Sequence[int]]) -> list[float]:
    """Sum of each answer's log-probabilities after the prompt `row`, at temperature 1, in nats.

    Args:
        answers: token ids as they were drawn, the end-of-turn included; equal ones count once.
    """
    return [float(one.double().sum()) for one in token_logprobs(loaded, row, answers)]


@torch.inference_mode()
def token_logprobs(
    loaded: Loaded, row: Row, answers: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """Each answer's log-probabilities, [its tokens] float32 on the CPU; arguments as `logprobs`."""
    distinct = list(dict.fromkeys(tuple(answer) for answer in answers))
    branches = tuple(Branch(answer, answer) for answer in distinct)
    group = Group(row.prompt_ids, branches, row.images, row.key)
    batch = grouping.batch(loaded, [group]).to(loaded.device)
    with attending(loaded.family.language_model(loaded.model)):
        logps = prefix.score(loaded.model, batch.arguments())
    owners = batch.layout.owners
    each = [logps[owners == number].cpu() for number in range(len(distinct))]
    found = dict(zip(distinct, each, strict=True))
    return [found[tuple(answer)] for answer in answers]
