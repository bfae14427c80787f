"""A checkpoint's processor: its tokenizer and image processor, and nothing for videos.

transformers' processors of several families carry a video processor, which needs torchvision.
Nobody is shown a video here, so it is left out; its settings stay with the checkpoint.
"""

from pathlib import Path
from typing import Any

from transformers import AutoProcessor
from transformers.models.auto import processing_auto

from chainsight.vlm.files import read_json

FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
"""Where the processor's class stands; the first that names it counts, as in transformers."""

VIDEOS = "video_processor"


def load(folder: Path, model_type: str) -> Any:
    """The processor of a checkpoint folder, from its files alone and without code of theirs."""
    local: Any = {"trust_remote_code": False, "local_files_only": True}
    kind = _kind(folder, model_type)
    if kind is None or VIDEOS not in kind.get_attributes():
        processors: Any = AutoProcessor
        return processors.from_pretrained(folder, **local)
    processor = without_videos(kind).from_pretrained(folder, **local)
    if settings := _video_settings(folder):
        processor.video_processor = settings  # written again when the processor is saved
    return processor


def without_videos(kind: Any) -> Any:
    """A processor class of the same name that is made of the other parts."""
    parts = [part for part in kind.get_attributes() if part != VIDEOS]
    return type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda _: parts)})


def _kind(folder: Path, model_type: str) -> Any:
    auto: Any = processing_auto
    said = (_read(folder / name).get("processor_class") for name in FILES)
    name = next(filter(None, said), auto.PROCESSOR_MAPPING_NAMES.get(model_type))
    return auto.processor_class_from_name(name) if name else None


def _video_settings(folder: Path) -> dict[str, Any]:
    own: dict[str, Any] = _read(folder / FILES[0]).get(VIDEOS) or {}
    return own or _read(folder / "video_preprocessor_config.json") or _read(folder / FILES[1])


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}
