"""Processors without videos, and what of a checkpoint is refused because it would not fit."""

import json
import shutil
import sys

import pytest
import torch

from chainsight.errors import CheckpointError, RecordError
from chainsight.vlm import checkpoint, families
from chainsight.vlm.families.qwen import QWEN
from chainsight.vlm.template import Prompt

VIDEOS = {"video_processor_type": "Qwen2VLVideoProcessor", "size": {"longest_edge": 7}}


@pytest.fixture
def qwen(family_folders, tmp_path):
    """A copy without a seal, to be changed."""
    folder = shutil.copytree(family_folders["qwen2_5_vl"], tmp_path / "qwen")
    (folder / checkpoint.SEAL).unlink()
    return folder


def edit(folder, name, change):
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    return str(caught.value)


def test_no_processor_needs_torchvision(family_folders):
    for name, folder in family_folders.items():
        processor = checkpoint.load(folder).processor
        assert "torchvision" not in sys.modules, name
        assert type(processor).__name__.endswith("Processor")


@pytest.mark.parametrize("place", ["processor_config.json", "video_preprocessor_config.json"])
def test_settings_for_videos_stay_with_a_checkpoint(qwen, tmp_path, place):
    if place == "processor_config.json":
        edit(qwen, place, lambda c: c.update(video_processor=VIDEOS))
    else:
        (qwen / place).write_text(json.dumps(VIDEOS))
    checkpoint.save(checkpoint.load(qwen), tmp_path / "again", base="here")
    for folder in (tmp_path / "again", tmp_path / "more"):
        written = json.loads((folder / "processor_config.json").read_text())
        assert written["video_processor"] == VIDEOS
        assert written["processor_class"] == "Qwen2_5_VLProcessor"
        checkpoint.save(checkpoint.load(folder), tmp_path / "more", base="here")


def test_the_published_layout_of_files_loads(qwen):
    """Qwen's own folders keep the image processor in a file of its own, by an older class name."""
    written = json.loads((qwen / "processor_config.json").read_text())
    (qwen / "processor_config.json").unlink()
    images = written["image_processor"] | {"processor_class": "Qwen2_5_VLProcessor"}
    (qwen / "preprocessor_config.json").write_text(json.dumps(images))
    processor = checkpoint.load(qwen).processor
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert processor.image_processor.merge_size == 2
    assert processor.video_processor == images


def test_unknown_families_are_refused_by_a_sentence_that_names_the_known(qwen):
    edit(qwen, "config.json", lambda c: c.update(model_type="internvl"))
    said = refusal(qwen)
    assert "config.json: model_type 'internvl' is none of the families" in said
    assert all(name in said for name in families.FAMILIES)
    assert "docs/families.md" in said


def test_a_sliding_window_is_refused(qwen):
    def windowed(config):
        config["text_config"].update(use_sliding_window=True, sliding_window=64)
        config["text_config"].pop("layer_types", None)

    edit(qwen, "config.json", windowed)
    assert "sliding_window is 64" in refusal(qwen)


@pytest.mark.parametrize(
    ("name", "value"), [("merge_size", 4), ("patch_size", 16), ("temporal_patch_size", 1)]
)
def test_an_image_processor_of_other_patches_is_refused(qwen, name, value):
    edit(qwen, "processor_config.json", lambda c: c["image_processor"].update({name: value}))
    assert f"wrong processor: its {name} is {value}" in refusal(qwen)


def test_another_familys_processor_is_refused(family_folders, tmp_path):
    for name, other in (("qwen2_5_vl", "llava"), ("llava", "qwen2_5_vl"), ("qwen3_vl", "qwen2_vl")):
        folder = shutil.copytree(family_folders[name], tmp_path / name)
        (folder / checkpoint.SEAL).unlink()
        shutil.copy(family_folders[other] / "processor_config.json", folder)
        assert "wrong processor" in refusal(folder)


def test_a_picture_too_narrow_for_the_processor_is_refused_by_name(qwen, png):
    template = checkpoint.load(qwen).template
    with pytest.raises(RecordError, match=r"q: .*aspect ratio"):
        template.row(Prompt("q", "What is it?", (png("red", (500, 2)),)))


def test_positions_are_those_of_the_published_figure():
    """Four words, 2 x 3 tokens of a picture, two words: arXiv 2409.12191, figure 3, in small."""
    config = type("C", (), {"image_token_id": 9, "vision_config": _vision()})
    grid = {"image_grid_thw": torch.tensor([[1, 4, 6]])}
    found = QWEN.positions(config, [1, 2, 3, 4, *[9] * 6, 5, 6], grid)
    assert found.tolist() == [
        [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 7, 8],
        [0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 7, 8],
        [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8],
    ]


def _vision():
    return type("V", (), {"spatial_merge_size": 2})


def test_a_decoded_token_stands_at_one_number_on_every_axis():
    places = torch.tensor([9, 14])
    assert QWEN.decoding_positions(places).tolist() == [[[9], [14]]] * 3
    assert families.FAMILIES["llava"].decoding_positions(places).tolist() == [[9], [14]]
