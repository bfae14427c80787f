"""A question as a model sees it: chat prompt, token ids, pictures.

Letters in shapes: T tiles of a picture, C channels, H and W a tile's pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import Any

import torch
from jinja2.exceptions import TemplateError

from chainsight import prompts
from chainsight.config import PromptStyle
from chainsight.errors import CheckpointError, RecordError
from chainsight.records import Example, Mode
from chainsight.vlm.ids import Ids
from chainsight.vlm.pictures import Pictures, Shown, open_image
from chainsight.vlm.prefix import IGNORED


@dataclass(frozen=True)
class Prompt:
    """One user turn with its pictures, not yet tokenised."""

    key: str
    """Names the row: seeds its random draws and stands in messages."""
    text: str
    """The user turn; pictures are where `prompts.segments` finds them."""
    images: Sequence[bytes]
    """The image files, encoded; read when asked for, if they are stored ones."""
    system: str = prompts.SYSTEM
    """Said before it, where the checkpoint wants a system prompt."""


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenised prompt with the tokens to learn after it (none for generation).

    A template makes small ones: `Ids`, and images that stay where they are.
    """

    key: str
    prompt_ids: Sequence[int]
    """Every image placeholder repeated once per image token."""
    response_ids: Sequence[int]
    images: Sequence[bytes]
    """In the order of their tokens."""
    labels: Sequence[int] | None = None
    """As many as `response_ids`: the id itself where it is learned, else IGNORED; none: all are
    learned. For several turns, of which the answers are learned alone."""
    longest: int | None = None
    """Most tokens of an answer that is to be written; none: as many as any other's."""

    @property
    def learned(self) -> Sequence[int]:
        """The labels of `response_ids`."""
        return self.response_ids if self.labels is None else self.labels

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def student(example: Example, mode: Mode, style: PromptStyle = "paper") -> Prompt:
    """The question of `example` in the student's words (`prompts.student_prompt`)."""
    return Prompt(
        key=f"{example.id}/{mode}",
        text=prompts.student_prompt(example, mode, style),
        images=example.images,
        system=prompts.system_prompt(mode, style),
    )


class Template:
    """A checkpoint's way from text and pictures to tensors.

    A system prompt is given where the checkpoint wants it and its chat template takes
    one.
    """

    def __init__(self, processor: Any, *, system_prompt: bool) -> None:
        self.processor = processor
        self.tokenizer: Any = processor.tokenizer
        self.image_token: str = processor.image_token
        self.image_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        self.system_prompt = False
        self.system_prompt = system_prompt and self._takes_a_system_prompt()
        self._pictures = Pictures(processor.image_processor)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that text may never produce: control tokens and the image placeholder."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset({i for i, token in added if token.special} | {self.image_id})

    @cached_property
    def interleaves(self) -> bool:
        """Whether the chat template leaves a picture where it stands between two texts.

        Some (LLaVA-1.6's own among them) write all pictures first.
        """
        before, after = ({"type": "text", "text": text} for text in ("first words", "last words"))
        user = {"role": "user", "content": [before, {"type": "image"}, after]}
        text = self._render([user], answer_next=True)
        places = [text.find(part) for part in ("first words", self.image_token, "last words")]
        return -1 < places[0] < places[1] < places[2]

    @cached_property
    def end_of_turn(self) -> int:
        """The control token that the chat template writes after an answer, or else the
        tokenizer's end of text (LLaVA-1.5's template leaves it out)."""
        asked = self._asked([0, "?"], prompts.SYSTEM)
        answer = {"role": "assistant", "content": [{"type": "text", "text": "!"}]}
        before = self._render(asked, answer_next=True)
        after = self._render([*asked, answer], answer_next=False)
        said = after.removeprefix(before)
        if said == after or not self._begins(before, said):
            raise CheckpointError(
                "the chat template writes an answer differently from the prompt that asks for it; "
                "use a checkpoint whose template renders the prompt as a prefix"
            )
        controls = [i for i in self._ids(said.lstrip()[1:]) if i in self.special_ids]
        end = controls[0] if controls else self.tokenizer.eos_token_id
        if end is None:
            raise CheckpointError("the chat template ends an answer without an end-of-turn token")
        return int(end)

    def _begins(self, before: str, said: str) -> bool:
        """Whether the answer "!" comes next, as it is tokenised alone: sentencepieces make the
        space before it."""
        gap = said[: len(said) - len(said.lstrip())]
        apart = self._ids(before) + self._ids("!")
        return said.startswith(gap + "!") and (not gap or self._ids(before + gap + "!") == apart)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def row(self, prompt: Prompt, response_ids: Sequence[int] = ()) -> Row:
        """The prompt as token ids, up to where the answer begins, and `response_ids` after it.

        Raises:
            RecordError: a picture is refused.
            CheckpointError: the template does not place each picture once.
        """
        parts = self._parts(prompt)
        shown = [part for part in parts if isinstance(part, int)]
        as_they_are = shown == list(range(len(prompt.images)))
        images = prompt.images if as_they_are else Shown(prompt.images, shown)
        ids = self.conversation_ids(self._asked(parts, prompt.system), images, prompt.key)
        return Row(prompt.key, ids, Ids(response_ids), images)

    def lesson(self, prompt: Prompt, turns: Sequence[str]) -> Row:
        """`prompt` and what follows: an answer, or answer, request, answer, and so on.

        Each answer and the end of its turn are learned; later ones are given what was said before.

        Raises:
            RecordError, CheckpointError: as `row`; or the template changes what was said before.
        """
        messages = self._asked(self._parts(prompt), prompt.system)
        ids: list[int] = []
        labels: list[int] = []
        for answer, request in zip_longest(turns[::2], turns[1::2]):
            said = [*self.text_ids(answer), self.end_of_turn]
            ids += said
            labels += said
            if request is not None:
                between, messages = self._go_on(messages, answer, request)
                ids += between
                labels += [IGNORED] * len(between)
        return replace(self.row(prompt, ids), labels=Ids(labels) if len(turns) > 1 else None)

    def rendered(self, prompt: Prompt) -> str:
        """The prompt as the model gets it, with one placeholder a picture, for the record."""
        return self._render(self._asked(self._parts(prompt), prompt.system), answer_next=True)

    def conversation_ids(
        self, messages: list[dict[str, Any]], images: Sequence[bytes], key: str
    ) -> Ids:
        """Token ids of a conversation, up to where the next answer begins.

        Its texts are taken as they are: pass them through `neutral` if they are not ours.
        Raises as `row`.
        """
        counts = [self._num_tokens(image, key) for image in images]
        text = self._render(messages, answer_next=True)
        if (placed := text.count(self.image_token)) != len(counts):
            raise CheckpointError(
                f"{key}: the chat template gives {placed} image tokens for {len(counts)} "
                "picture(s); it must place each once"
            )
        bos = self.tokenizer.bos_token
        own_start = bool(bos) and text.startswith(bos)
        ids = self.tokenizer(text, add_special_tokens=not own_start).input_ids
        if ids.count(self.image_id) != len(counts):
            raise CheckpointError(
                f"{key}: the tokenizer makes {ids.count(self.image_id)} image tokens of "
                f"{len(counts)}; use the tokenizer that belongs to the checkpoint"
            )
        return Ids(ids, self.image_id, counts)

    def _num_tokens(self, image: bytes, key: str) -> int:
        """Of a picture, by its size alone."""
        width, height = open_image(image, key).size
        try:
            found = self.processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
        except ValueError as error:
            raise RecordError(f"{key}: the image processor refuses a picture ({error})") from None
        return int(found["num_image_tokens"][0])

    def _go_on(
        self, messages: list[dict[str, Any]], answer: str, request: str
    ) -> tuple[list[int], list[dict[str, Any]]]:
        """Token ids between the end of `answer` and the next answer; and the messages by then."""
        before = self._render(messages, answer_next=True) + self.neutral(answer)
        turns = [
            {"role": role, "content": [{"type": "text", "text": self.neutral(text)}]}
            for role, text in (("assistant", answer), ("user", request))
        ]
        after = self._render([*messages, *turns], answer_next=True)
        ids: list[int] = self.tokenizer(after[len(before) :], add_special_tokens=False).input_ids
        if not after.startswith(before) or self.end_of_turn not in ids:
            raise CheckpointError(
                "the chat template changes what was said before, so that no later turn can be "
                "learned with it; use a checkpoint whose template only adds turns"
            )
        return ids[ids.index(self.end_of_turn) + 1 :], [*messages, *turns]

    def text_ids(self, text: str) -> Ids:
        """Token ids of an answer; never a control token, whatever the text holds."""
        return Ids(self.tokenizer(self.neutral(text), add_special_tokens=False).input_ids)

    def neutral(self, text: str) -> str:
        """`text` with each control token's spelling broken by a space: `<image>` to `< image>`.

        Asks the tokenizer itself, so that spellings it normalises are found too.
        """
        while True:
            got = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            spans = zip(got.input_ids, got.offset_mapping, strict=True)
            found = [span for i, span in spans if i in self.special_ids]
            if not found:
                return text
            for start, stop in reversed(found):
                text = text[:start] + _broken(text[start:stop]) + text[stop:]

    def pictures(self, image: bytes, key: str) -> dict[str, torch.Tensor]:
        """The image processor's tensors of one picture, from the cache if it was seen lately.

        `pixel_values` is [T, C, H, W] for tiled models.
        """
        return self._pictures.get(image, key)

    def _parts(self, prompt: Prompt) -> list[prompts.Segment]:
        """Texts and pictures in order. Where the template would move the pictures to the front,
        they go there in their own order, and the text keeps their names."""
        parts = prompts.segments(prompt.text, len(prompt.images))
        in_front: list[prompts.Segment] = [*range(len(prompt.images)), prompt.text]
        return parts if parts == in_front or self.interleaves else in_front

    def _asked(self, parts: Sequence[prompts.Segment], system: str) -> list[dict[str, Any]]:
        """The turns that end in the question, its texts made neutral."""
        content = [
            {"type": "image"}
            if isinstance(part, int)
            else {"type": "text", "text": self.neutral(part)}
            for part in parts
        ]
        user = {"role": "user", "content": content}
        return [_system(system), user] if self.system_prompt else [user]

    def _takes_a_system_prompt(self) -> bool:
        asked = self._asked([0, "?"], "")
        try:
            rendered = self._apply([_system(prompts.SYSTEM), *asked], answer_next=True)
        except TemplateError:
            return False  # some templates raise at a role that they do not know
        return prompts.SYSTEM in rendered

    def _render(self, messages: list[dict[str, Any]], *, answer_next: bool) -> str:
        try:
            return self._apply(messages, answer_next=answer_next)
        except (TemplateError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the chat template does not render a question with a picture ({error}); use a "
                "checkpoint with a chat template for pictures"
            ) from None

    def _apply(self, messages: list[dict[str, Any]], *, answer_next: bool) -> str:
        rendered: str = self.processor.apply_chat_template(
            messages, add_generation_prompt=answer_next, tokenize=False
        )
        return rendered


def _system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": [{"type": "text", "text": text}]}


def _broken(spelling: str) -> str:
    """A control token's spelling with a space after its first character (nothing if it has one)."""
    bare = spelling.strip()
    return spelling.replace(bare, f"{bare[0]} {bare[1:]}") if len(bare) > 1 else ""
