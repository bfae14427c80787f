"""A question as a model sees it: chat prompt, token ids, picture; and batches of them.

Letters in shapes: B rows, S tokens, T tiles of all pictures, C channels, H and W a tile's pixels.
"""

import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from PIL import Image, UnidentifiedImageError

from chainsight import prompts
from chainsight.errors import CheckpointError, RecordError
from chainsight.records import Example, Mode

IGNORED = -100
"""Label of a token that is not learned (torch's cross entropy skips it)."""
MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are decoded (240 MB as RGB)."""
CACHE_BYTES = 256 * 2**20
"""Prepared pictures kept for reuse: the rows of one example come close together."""


@dataclass(frozen=True)
class Prompt:
    """One user turn with its picture, not yet tokenised."""

    key: str
    """Names the row: seeds its random draws and stands in messages."""
    text: str
    """The user turn without the image placeholder."""
    image: bytes
    """The image file, encoded."""


@dataclass(frozen=True)
class Row:
    """A tokenised prompt with the tokens to learn after it (none for generation)."""

    key: str
    prompt_ids: tuple[int, ...]
    """Every image placeholder already repeated once per image token."""
    response_ids: tuple[int, ...]
    image: bytes

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def student(example: Example, mode: Mode) -> Prompt:
    """The question of `example` in the student's words (`prompts.student_prompt`)."""
    return Prompt(f"{example.id}/{mode}", prompts.student_prompt(example, mode), example.image)


def open_image(image: bytes, key: str) -> Image.Image:
    """Open an image file without decoding its pixels.

    Raises:
        RecordError: no image, or above MAX_PIXELS; the message names `key`.
    """
    try:
        picture = Image.open(io.BytesIO(image))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise RecordError(f"{key}: not an image ({error}); prepare the examples again") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise RecordError(
            f"{key}: image of {width} x {height} pixels, at most {MAX_PIXELS} allowed"
        )
    return picture


class _PictureCache:
    """The last prepared pictures, up to CACHE_BYTES."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, dict[str, torch.Tensor]] = OrderedDict()
        self._size = 0

    def get(self, image: bytes) -> dict[str, torch.Tensor] | None:
        if image in self._kept:
            self._kept.move_to_end(image)
        return self._kept.get(image)

    def put(self, image: bytes, tensors: dict[str, torch.Tensor]) -> None:
        self._kept[image] = tensors
        self._size += _num_bytes(tensors)
        while self._size > CACHE_BYTES:
            self._size -= _num_bytes(self._kept.popitem(last=False)[1])


def _num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


class Template:
    """A checkpoint's way from text and picture to tensors.

    The paper's system prompt is given where the checkpoint wants it and its chat template takes
    one.
    """

    def __init__(self, processor: Any, *, system_prompt: bool) -> None:
        self.processor = processor
        self.tokenizer: Any = processor.tokenizer
        self.system_prompt = False
        self.system_prompt = system_prompt and self._takes_a_system_prompt()
        self.image_token: str = processor.image_token
        self.image_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        self._pictures = _PictureCache()

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that text may never produce: control tokens and the image placeholder."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset({i for i, token in added if token.special} | {self.image_id})

    @cached_property
    def end_of_turn(self) -> int:
        """The control token that the chat template writes after an answer."""
        asked = self._messages("?")
        answer = {"role": "assistant", "content": [{"type": "text", "text": "!"}]}
        before = self._render(asked, answer_next=True)
        after = self._render([*asked, answer], answer_next=False)
        if not after.startswith(before + "!"):
            raise CheckpointError(
                "the chat template writes an answer differently from the prompt that asks for it; "
                "use a checkpoint whose template renders the prompt as a prefix"
            )
        ids = self.tokenizer(after[len(before) + 1 :], add_special_tokens=False).input_ids
        controls = [i for i in ids if i in self.special_ids]
        if not controls:
            raise CheckpointError("the chat template ends an answer without an end-of-turn token")
        return int(controls[0])

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Token ids of the prompt, up to where the answer begins.

        Raises:
            RecordError: the picture is refused.
            CheckpointError: the template does not place exactly one picture.
        """
        messages = self._messages(self.neutral(prompt.text))
        return self.conversation_ids(messages, prompt.image, prompt.key)

    def conversation_ids(
        self, messages: list[dict[str, Any]], image: bytes, key: str
    ) -> tuple[int, ...]:
        """Token ids of a conversation about one picture, up to where the next answer begins.

        Its texts are taken as they are: pass them through `neutral` if they are not ours.
        Raises as `prompt_ids`.
        """
        width, height = open_image(image, key).size
        sizes = self.processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
        count = sizes["num_image_tokens"][0]
        text = self._render(messages, answer_next=True)
        text = text.replace(self.image_token, self.image_token * count)
        bos = self.tokenizer.bos_token
        own_start = bool(bos) and text.startswith(bos)
        ids = self.tokenizer(text, add_special_tokens=not own_start).input_ids
        if ids.count(self.image_id) != count:
            raise CheckpointError(
                f"{key}: the chat template gives {ids.count(self.image_id)} image tokens, "
                f"expected {count}; it must place the picture once"
            )
        return tuple(ids)

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of an answer; never a control token, whatever the text holds."""
        return tuple(self.tokenizer(self.neutral(text), add_special_tokens=False).input_ids)

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
        kept = self._pictures.get(image)
        if kept is None:
            try:
                rgb = open_image(image, key).convert("RGB")
            except (OSError, SyntaxError, ValueError) as error:
                raise RecordError(f"{key}: image does not decode ({error})") from None
            made = self.processor.image_processor(images=[rgb], return_tensors="pt")
            kept = {name: _flat(tensor) for name, tensor in made.items()}
            self._pictures.put(image, kept)
        return kept

    def collate(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """One batch, padded on the left, so that all rows end at the same position.

        Returns:
            input_ids, attention_mask, position_ids (0 at the first real token) and labels
            (IGNORED but for the responses), each [B, S], and the pictures' tensors.
        """
        length = max(len(row) for row in rows)
        ids = torch.full((len(rows), length), self.pad_id)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
        for i, row in enumerate(rows):
            ids[i, length - len(row) :] = torch.tensor(row.prompt_ids + row.response_ids)
            mask[i, length - len(row) :] = 1
            if row.response_ids:
                labels[i, -len(row.response_ids) :] = torch.tensor(row.response_ids)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        batch["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        pictures = [self.pictures(row.image, row.key) for row in rows]
        return batch | {name: torch.cat([p[name] for p in pictures]) for name in pictures[0]}

    def _messages(self, text: str) -> list[dict[str, Any]]:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        user = {"role": "user", "content": content}
        return [self._system(), user] if self.system_prompt else [user]

    def _system(self) -> dict[str, Any]:
        return {"role": "system", "content": [{"type": "text", "text": prompts.SYSTEM}]}

    def _takes_a_system_prompt(self) -> bool:
        try:
            rendered = self._apply([self._system(), *self._messages("?")], answer_next=True)
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


def _broken(spelling: str) -> str:
    """A control token's spelling with a space after its first character (nothing if it has one)."""
    bare = spelling.strip()
    return spelling.replace(bare, f"{bare[0]} {bare[1:]}") if len(bare) > 1 else ""


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """Drop the batch dimension before tiles: [1, T, C, H, W] to [T, C, H, W]."""
    return tensor[0] if tensor.dim() == 5 else tensor
