"""Bytes on one GPU, stage by stage: weights, optimizer, activations, caches.

Training is reckoned as `training.setup` and `training.parallel` set it up, decoding as
`vlm.sampling` does it: both have the prompt once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chainsight.config import DpoSection, ModelSection, RunConfig, SftSection
from chainsight.inventory.tally import RATIONALE_WORDS
from chainsight.inventory.tokens import TOKENS_PER_WORD
from chainsight.planner.activations import (
    SINGLE,
    Activations,
    Manner,
    Question,
    activations,
    in_pieces,
)
from chainsight.planner.shapes import Picture, Shape

PROMPT_TEXT = 200
"""Tokens around the picture: template, question, choices, the request for steps."""
PAGE = (1240, 1754)
"""Pixels of the usual large picture: A4 at 150 dots an inch, as DocVQA's and InfographicVQA's."""
CONTEXT_BYTES = 3 * 2**29
"""1.5 GiB that no allocator shows: CUDA context and kernels (about 0.5), workspaces of cuBLAS and
cuDNN (up to 0.3), NCCL's buffers (up to 0.5), what a desktop or a neighbour holds."""
FRAGMENTATION = 0.1
"""Of what comes and goes: torch's allocator keeps blocks of sizes that the next batch, longer or
shorter, cannot use."""


@dataclass(frozen=True)
class Processes:
    """Who shares a training."""

    number: int = 1
    parallel: str = "fsdp"

    @property
    def pieces(self) -> int:
        """Into how many the weights are cut up."""
        return self.number if self.parallel == "fsdp" else 1


@dataclass(frozen=True)
class Need:
    """What a stage needs of one GPU."""

    stage: str
    parts: Mapping[str, int]
    """Bytes by what they are for, without the margin."""
    coming: int
    """Those of `parts` that come and go with each batch."""
    tokens: int
    """Of one forward pass."""

    @property
    def net(self) -> int:
        """Without the margin."""
        return sum(self.parts.values())

    @property
    def total(self) -> int:
        """With it."""
        return self.net + CONTEXT_BYTES + math.ceil(FRAGMENTATION * self.coming)


STAGES = ("sft", "sample", "dpo", "evaluate")
"""Those that need a GPU."""


def need(
    stage: str, shape: Shape, config: RunConfig, processes: Processes, *, longest: bool = False
) -> Need:
    """What `stage` needs for rows of the usual size, or for the longest that it may meet.

    Usual is a page as picture and a rationale as answer; longest the picture of most tokens and,
    in SFT, the longest answer that the teacher may give, within `sft.max_length`.
    """
    if stage in ("sft", "dpo"):
        section: SftSection | DpoSection = config.sft if stage == "sft" else config.dpo
        questions = rows(stage, shape, config, longest=longest)
        return training(stage, shape, section, config.model, questions, processes)
    picture = shape.largest if longest else shape.picture(*PAGE)
    return decoding(stage, shape, config, picture)


# --- training --------------------------------------------------------------------------------


def rows(stage: str, shape: Shape, config: RunConfig, *, longest: bool) -> list[Question]:
    """What a forward pass holds: in SFT rows, each alone; in DPO pairs, each with its prompt."""
    picture = shape.largest if longest else shape.picture(*PAGE)
    if stage == "dpo":
        words = config.dpo.max_words
        length = math.ceil(words * TOKENS_PER_WORD) if words else config.sample.max_new_tokens
        pair = _question(picture, (length, length))
        return [pair] * config.dpo.device_batch_size
    answer = math.ceil(RATIONALE_WORDS * TOKENS_PER_WORD)
    if longest:
        answer = max(answer, config.distill.max_tokens)
    row = _question(picture, (answer,))
    over = max(row.tokens - config.sft.max_length, 0)  # such rows are dropped
    return [replace(row, prompt=row.prompt - over)] * config.sft.device_batch_size


def _question(picture: Picture, branches: tuple[int, ...]) -> Question:
    prompt, learned = PROMPT_TEXT + picture.tokens, sum(branches)
    return Question(prompt, branches, learned, picture.patches, picture.tokens)


def manner_of(section: SftSection | DpoSection, model: ModelSection) -> Manner:
    """How a stage trains."""
    sft = isinstance(section, SftSection)
    return Manner(
        bfloat16=model.dtype == "bfloat16",
        lora=section.lora_rank if section.tuning == "lora" else None,
        checkpointing=model.gradient_checkpointing,
        tower=isinstance(section, SftSection) and section.vision_learning_rate > 0,
        projector=sft,
    )


def training(
    stage: str,
    shape: Shape,
    section: SftSection | DpoSection,
    model: ModelSection,
    questions: list[Question],
    processes: Processes,
) -> Need:
    """A step in the middle: AdamW's moments are there, gradients are summed over several passes."""
    manner = manner_of(section, model)
    pieces, trained = processes.pieces, trained_parameters(shape, manner)
    found = activations(shape, questions, manner)
    buckets = 2 if processes.number > pieces else 1  # ddp copies gradients to send them
    weights = shape.parameters * manner.weight + (SINGLE * trained if manner.lora else 0)
    reference = shape.parameters * manner.weight  # of DPO, where it is a second model
    second = isinstance(section, DpoSection) and section.reference == "model"
    casts, brief = _waves(shape, questions, manner, found)
    parts = {
        "weights": weights // pieces,
        "reference": reference * second // pieces,
        "gradients": SINGLE * trained * buckets // pieces,
        "AdamW": 2 * SINGLE * trained // pieces,
        "gathered layers": _gathered(shape, manner) if pieces > 1 else 0,
        "bfloat16 copies": casts,
        "activations": found.kept,
        "passing": brief,
    }
    return Need(stage, parts, found.kept + brief, sum(one.tokens for one in questions))


def trained_parameters(shape: Shape, manner: Manner) -> int:
    """How many the optimizer moves."""
    linears = shape.text.linears * shape.text.layers
    whole = shape.text.parameters
    if manner.projector:
        linears, whole = linears + shape.projector, whole + shape.projector_parameters
    if manner.tower:
        linears, whole = linears + shape.tower.linears, whole + shape.tower.parameters
    return manner.lora * sum(a + b for a, b in linears) if manner.lora else whole


def _waves(
    shape: Shape, questions: list[Question], manner: Manner, found: Activations
) -> tuple[int, int]:
    """Autocast's copies of weights, and what else comes on top of activations, at the highest.

    Without checkpointing the copies last until the backward pass has multiplied by them. With it
    there are those of a layer at a time: the training's loop has autocast keep none.
    """
    text, tokens = shape.text, sum(one.tokens for one in questions)
    learned = sum(one.learned for one in questions)
    looked_up = 0 if manner.lora or text.tied else text.embedding  # an embedding is not multiplied
    casts = manner.bfloat16 * manner.number * (trained_parameters(shape, manner) - looked_up)
    in_layer = 2 * text.intermediate * tokens * (SINGLE if manner.lora else manner.number)
    logits = in_pieces(text, learned) * text.vocabulary
    again = in_pieces(text, learned) < learned  # log-probabilities, too
    at_head = logits * ((2 + again) * SINGLE + manner.bfloat16 * manner.number)
    if not manner.checkpointing:
        return casts, max(in_layer, at_head)
    return casts // text.layers, max(at_head, found.recomputed + in_layer)


def _gathered(shape: Shape, manner: Manner) -> int:
    """What fsdp has whole on each GPU: what belongs to no layer, with its gradients, and two
    layers, of which one is being computed and the next one fetched."""
    text = shape.text
    alone = text.parameters - text.layers * text.layer_parameters + shape.projector_parameters
    gradients = 0 if manner.lora else SINGLE * (alone + text.layer_parameters)
    return manner.weight * (alone + 2 * text.layer_parameters) + gradients


# --- decoding --------------------------------------------------------------------------------

CHOOSING = 3 * 8 + SINGLE
"""Bytes a row and vocabulary entry while a token is drawn: float32 logits; probabilities, their
sums and one more, all float64."""


OPEN, PREFILL_TOKENS = 2, 8192
"""As in `vlm.sampling`: prompts that are kept beside those of the batch while their last candidates
are written, and tokens of prompts that are computed together."""


def decoding(stage: str, shape: Shape, config: RunConfig, picture: Picture) -> Need:
    """Answers to a batch of questions: the cache of prompts and answers, and a wave on top: prompts
    that are computed, a token that is drawn, or the scores of a question's candidates."""
    text, number = shape.text, 2 if config.model.dtype == "bfloat16" else SINGLE
    if stage == "sample":
        batch, answers = config.sample.batch_size, config.sample.num_candidates
        length = config.sample.max_new_tokens
    else:
        batch, answers = config.evaluate.batch_size, 1
        lengths = {
            "cot": config.evaluate.max_new_tokens,
            "direct": config.evaluate.max_direct_tokens,
        }
        length = max(lengths[mode] for mode in config.evaluate.modes)
    prompt = PROMPT_TEXT + picture.tokens
    prompts = batch * prompt * (OPEN if answers > 1 else 1)
    written = batch * answers * length
    pack = min(batch, max(1, PREFILL_TOKENS // prompt))
    scored = prompt + answers * length if stage == "sample" else 0
    layer = 2 * text.keys * number  # keys and values of a token
    streams = 3 * text.hidden * number + SINGLE * text.hidden  # residual stream, norm in float32
    whole = max(pack * prompt, scored) * (streams + 3 * text.intermediate * number)
    tower = pack * picture.patches * (6 * shape.tower.hidden + 3 * shape.tower.intermediate)
    drawing = batch * answers * text.vocabulary * (number + CHOOSING) + (prompts + written) * layer
    parts = {
        "weights": shape.parameters * number,
        "cache": (prompts + written) * layer * text.layers,
        "passing": max(whole, drawing, tower * number),
    }
    return Need(stage, parts, parts["cache"] + parts["passing"], prompts + written)
