"""What is compared: the cases, each with its contenders."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from benchmarks import flops, ours, peers
from benchmarks.llava import fresh_template
from benchmarks.measuring import OURS, Case, Contender, relative
from benchmarks.peers import DEFAULT, Setting
from benchmarks.questions import Question, lengths, pairs, question, rows, targets
from benchmarks.stand import Place, Stand, Tuning
from chainsight.vlm.prefix import ATTENTION

BOUND = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far losses may lie apart."""


def dpo(
    stand: Stand,
    asked: Question,
    name: str,
    title: str,
    *,
    goal: float | None = None,
    settings: Sequence[Setting] = (),
    gradients: bool = True,
    once: bool = False,
) -> Case:
    """A step on all pairs of one question, the reference's pass included on both sides."""
    made = rows(stand.loaded, asked)
    batch = ours.prepared(stand.loaded, made)
    inputs = stand.collated(pairs(asked))
    own = Contender(
        OURS,
        lambda: ours.dpo_step(stand.loaded, stand.policy, stand.reference, batch),
        stand.ours,
    )
    others = _theirs(stand, inputs, settings or (peers.tuned(),))
    return _training(
        stand, made, name, title, (own, *others), goal, gradients, once, reference=True
    )


def sft(stand: Stand, asked: Question, name: str, title: str, *, goal: float | None = None) -> Case:
    """A step on the targets of one question."""
    made = rows(stand.loaded, asked)
    batch = ours.prepared(stand.loaded, made)
    inputs = stand.collated(targets(asked))
    own = Contender(OURS, lambda: ours.sft_step(stand.loaded, stand.policy, batch), stand.ours)
    others = _theirs(stand, inputs, (peers.tuned(), DEFAULT))
    return _training(stand, made, name, title, (own, *others), goal, True, False, reference=False)


def _theirs(stand: Stand, inputs: dict[str, Any], settings: Sequence[Setting]) -> list[Contender]:
    return [
        Contender(one.name, lambda: peers.step(stand.trainer, inputs), stand.theirs(one))
        for one in settings
    ]


def _training(
    stand: Stand,
    made: Sequence[Any],
    name: str,
    title: str,
    contenders: tuple[Contender, ...],
    goal: float | None,
    gradients: bool,
    once: bool,
    *,
    reference: bool,
) -> Case:
    useful = flops.step(
        stand.loaded.model.config,
        len(made[0].prompt_ids),
        [len(row.response_ids) for row in made],
        tuning=stand.tuning,
        reference=reference,
        tiles=5 if made[0].images else 0,
    )
    return Case(
        name,
        title,
        contenders,
        stand.models,
        _scalar,
        BOUND[stand.place.dtype],
        goal,
        gradient=stand.gradient if gradients else None,
        useful_flops=useful,
        once=frozenset(one.name for one in contenders[1:]) if once else frozenset(),
    )


def _scalar(one: float, other: float) -> float:
    return abs(one - other) / max(abs(one), 1e-30)


def scoring(stand: Stand, num_candidates: int, goal: float | None = None) -> Case:
    """Log-probabilities of candidates of one prompt under the reference.

    TRL's own reference pass takes rows by pairs; four rows at a time, as many rows don't fit.
    """
    place = stand.place
    asked = question(4, lengths(place.shape.response, num_candidates))
    batch = ours.prepared(stand.loaded, rows(stand.loaded, asked))
    examples = pairs(asked)
    parts = [stand.collated(examples[i : i + 2]) for i in range(0, len(examples), 2)]

    def own() -> torch.Tensor:
        with stand.policy.disable_adapter():
            return ours.score(stand.loaded, stand.policy, batch)

    def theirs() -> torch.Tensor:
        found = [peers.reference_logps(stand.trainer, part) for part in parts]
        return torch.cat([f.view(2, -1).T.flatten() for f in found])  # chosen, rejected, chosen...

    return Case(
        f"reference scores of {num_candidates}",
        f"log-probabilities of {num_candidates} candidates of one prompt under the reference",
        (
            Contender(OURS, own, stand.ours),
            Contender("TRL tuned", theirs, stand.theirs(peers.tuned())),
        ),
        stand.models,
        relative,
        BOUND[place.dtype],
        goal,
    )


def sampling(place: Place, num_candidates: int, goal: float | None = None) -> Case:
    """Candidates of one prompt, drawn with the same uniform numbers."""
    loaded = place.build()
    length = place.shape.response
    row = rows(loaded, question(5, [length]))[0]
    row = type(row)(row.key, row.prompt_ids, (), row.images)
    uniforms = ours.draws(row, num_candidates, length).to(loaded.device)

    def attention(kind: str) -> Callable[[], None]:
        return lambda: loaded.model.set_attn_implementation(kind)

    return Case(
        f"N={num_candidates} sampling",
        f"{num_candidates} candidates of {length} tokens of one prompt",
        (
            Contender(
                OURS,
                lambda: ours.sample(loaded, row, num_candidates, length),
                attention(ATTENTION),
            ),
            Contender(
                "generate",
                lambda: peers.generate(loaded, row, uniforms, ours.NEVER_DRAWN),
                attention("sdpa"),
            ),
        ),
        (loaded.model,),
        _differing,
        0.0 if place.dtype == torch.float32 else 1.0,  # rounding turns a draw in bfloat16
        goal,
    )


def _differing(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of texts that are not the same."""
    return sum(a != b for a, b in zip(one, other, strict=True)) / len(one)


def data(stand: Stand, num_questions: int, goal: float | None = None) -> Case:
    """From files and texts to a batch, picture by picture; each pair has a picture of its own."""
    asked = [question(n, lengths(stand.place.shape.response, 2)) for n in range(num_questions)]
    loaded = stand.loaded

    def own() -> int:
        fresh = fresh_template(loaded)
        return sum(ours.prepared(fresh, rows(fresh, one)).layout.num_branches for one in asked)

    def theirs() -> int:
        made = [stand.trainer.data_collator(pairs(one)) for one in asked]
        return sum(len(batch["input_ids"]) for batch in made)

    return Case(
        "data path",
        f"{num_questions} pairs with a picture each, from files to batches",
        (Contender(OURS, own), Contender("TRL collator", theirs)),
        (loaded.model,),
        _scalar,
        0.0,
        goal,
        processor=loaded.processor.image_processor,
    )


# --- which ------------------------------------------------------------------------------------


def on_dpo(stand: Stand, *, curve: Sequence[int], gradients: bool = True) -> Iterator[Case]:
    """Pairs of one question: one pair against both settings, then more."""
    response, tuning = stand.place.shape.response, stand.tuning
    both = (peers.tuned(), DEFAULT)
    for num_pairs in curve:
        asked = question(num_pairs, lengths(response, 2 * num_pairs))
        yield dpo(
            stand,
            asked,
            f"DPO {num_pairs} pair{'s' if num_pairs > 1 else ''}, {tuning}",
            f"step on {num_pairs} pair(s) of one question, {tuning}",
            goal={1: 1.8, 4: 5.0}.get(num_pairs),
            settings=both if num_pairs == 1 else both[:1],
            gradients=gradients,
            once=num_pairs > 4,
        )


def unfavourable(stand: Stand) -> Iterator[Case]:
    """Where sharing gives little, or where TRL is at its best."""
    response = stand.place.shape.response
    long = 15 * response
    for name, title, asked in (
        (
            "equal lengths",
            "responses equally long: TRL needs no mask",
            question(20, [response] * 2),
        ),
        ("long responses", "a picture, responses of 15 R", question(21, lengths(long, 2))),
        ("text only", "no picture, P = 8 R", _text(22, 8 * response, lengths(response, 2))),
        ("tiny prompt", "no picture, P below R", _text(23, 4, lengths(response, 2))),
        ("R >> P", "no picture, tiny prompt, responses of 15 R", _text(24, 4, lengths(long, 2))),
    ):
        yield dpo(stand, asked, f"{name}, {stand.tuning}", title)


def _text(number: int, words: int, answers: Sequence[int]) -> Question:
    return question(number, answers, prompt_words=words, with_image=False)


def direct_and_reasoned(response: int) -> Question:
    """A question whose short answer and whose rationale are learned, each with its instruction."""
    asked = question(6, [max(response // 8, 2), response])
    return Question(asked.text, asked.image, asked.answers, (" badim", " bodin bukar balot"))


def on_sft(place: Place, tuning: Tuning) -> Iterator[Case]:
    """The two targets of one question."""
    asked = direct_and_reasoned(place.shape.response)
    stand = Stand(place, "sft", tuning)
    title = f"step on a question's direct and reasoned target, {tuning}"
    yield sft(stand, asked, f"SFT 2 targets, {tuning}", title, goal=1.8)
