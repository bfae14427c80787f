"""A checkpoint as an MLflow model: `mlflow.pyfunc.load_model("models:/NAME@champion")`.

MLflow reads the checkpoint's `MLmodel` (written by `vlm.mlmodel`) and calls `_load_pyfunc` here.
It is the same model in the same words as evaluation asks: equal questions get equal answers.
"""

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # comes with mlflow
from PIL import Image

from chainsight.config import EvaluateSection
from chainsight.errors import ConfigError, RecordError
from chainsight.records import MODES, Example, Mode
from chainsight.vlm import checkpoint
from chainsight.vlm.asking import ask
from chainsight.vlm.mlmodel import DEFAULT_BATCH_SIZE

LONGEST_PATH = 4096
"""Characters; a longer text is no path (Linux's own bound)."""
OPTIONS = frozenset({"attention", "device", "dtype"})


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> "Answerer":
    """What MLflow calls: verify and load the checkpoint at `path`.

    Args:
        path: the checkpoint's local folder.
        model_config: dtype, attention and device, for other than `MLmodel`'s own.

    Raises:
        CheckpointError: it is damaged or unsafe; the message names the file or tensor.
        ConfigError: an unknown option.
    """
    options = dict(model_config or {})
    strange = sorted(set(options) - OPTIONS)
    if strange:
        raise ConfigError(f"model_config: unknown {strange[0]!r}; known: {sorted(OPTIONS)}")
    if "device" in options:
        import torch

        options["device"] = torch.device(options["device"])
    return Answerer(checkpoint.load(path, **options))


class Answerer:
    """A loaded model that answers questions about pictures."""

    def __init__(self, loaded: checkpoint.Loaded) -> None:
        self.loaded = loaded

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Answer the questions of a data frame, greedily.

        Args:
            model_input: columns `image` (bytes of an image file, base64 or a data URI, a local
                path, or a PIL image; or a list of those, which `<image 1>`, `<image 2>` in the
                question or a choice stand for), `question`, and perhaps `choices` (a list, or
                None).
            params: `mode` (cot or direct), `max_new_tokens` (None: 512 for cot, 32 for direct, as
                in evaluation), `batch_size`.

        Returns:
            A data frame with the same index: answer, rationale, status (how the answer was found).

        Raises:
            RecordError: an image or a question is refused; the message names the row.
            ConfigError: an unknown mode, or a number below 1.
        """
        mode, options = _options(params or {})
        rows = pd.DataFrame(model_input)
        examples = [_example(number, row) for number, row in enumerate(rows.to_dict("records"))]
        replies = list(ask(self.loaded, examples, mode, style=self.loaded.prompt_style, **options))
        answers = [
            (reply.reading.value, reply.rationale, reply.reading.status) for reply in replies
        ]
        return pd.DataFrame(answers, columns=["answer", "rationale", "status"], index=rows.index)


def _options(params: Mapping[str, Any]) -> tuple[Mode, dict[str, int]]:
    mode = params.get("mode") or "cot"
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}; give one of {', '.join(MODES)}")
    bounds = EvaluateSection()
    longest = bounds.max_new_tokens if mode == "cot" else bounds.max_direct_tokens
    defaults = {"max_new_tokens": longest, "batch_size": DEFAULT_BATCH_SIZE}
    given = {name: params[name] for name in defaults if params.get(name) is not None}
    options = {name: int(value) for name, value in (defaults | given).items()}
    for name, value in options.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; give 1 or more")
    return cast(Mode, mode), options


def _example(number: int, row: Mapping[str, Any]) -> Example:
    """A row as an example without references."""
    question, choices = row.get("question"), row.get("choices")
    if not isinstance(question, str) or not question.strip():
        raise RecordError(f"row {number}: question is {question!r}; give a text")
    return Example(
        id=f"row {number}",
        dataset="",
        split="",
        question=question,
        references=(),
        metric="",
        images=_images(number, row.get("image")),
        choices=_choices(number, choices),
    )


def _images(number: int, value: Any) -> tuple[bytes, ...]:
    """The images of a row, the first one first."""
    several = value if isinstance(value, list | tuple | np.ndarray) else [value]
    if not len(several):
        raise RecordError(f"row {number}: image is an empty list; give at least one")
    return tuple(_image(number, one) for one in several)


def _choices(number: int, value: Any) -> tuple[str, ...] | None:
    if pd.api.types.is_scalar(value) and pd.isna(value):  # None, or what pandas makes of it
        return None
    if pd.api.types.is_scalar(value) or not all(isinstance(choice, str) for choice in value):
        raise RecordError(f"row {number}: choices is {value!r}; give a list of texts")
    return tuple(value) or None


def _image(number: int, value: Any) -> bytes:
    for kind, read in READERS:
        if isinstance(value, kind):
            return read(number, value)
    raise RecordError(
        f"row {number}: image is a {type(value).__name__}; give the bytes of an image file, base64 "
        "text, a local path or a PIL image"
    )


def _from_text(number: int, value: str) -> bytes:
    """The bytes that a path, a data URI or base64 text stands for."""
    if value.startswith("data:"):
        value = value.partition(",")[2]
    elif len(value) <= LONGEST_PATH and "\0" not in value and Path(value).is_file():
        return Path(value).read_bytes()
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        shown = value[:60]
        raise RecordError(
            f"row {number}: image {shown!r} is neither a file here nor base64"
        ) from None


def _from_path(number: int, value: Path) -> bytes:
    try:
        return value.read_bytes()
    except OSError as error:
        raise RecordError(f"row {number}: image {value}: {error.strerror}") from None


def _from_picture(_: int, value: Image.Image) -> bytes:
    file = io.BytesIO()
    value.save(file, format="PNG")
    return file.getvalue()


READERS: tuple[tuple[type | tuple[type, ...], Callable[[int, Any], bytes]], ...] = (
    ((bytes, bytearray, memoryview), lambda _, value: bytes(value)),
    (str, _from_text),
    (Path, _from_path),
    (Image.Image, _from_picture),
)
