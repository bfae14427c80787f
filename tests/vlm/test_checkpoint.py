"""What a checkpoint folder may hold, and that a damaged one never loads."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from chainsight.errors import CheckpointError
from chainsight.vlm import checkpoint

HEAD = "language_model.lm_head.weight"
"""The output layer's name in a file; the model calls it lm_head.weight."""


@pytest.fixture
def folder(student_folder, tmp_path):
    return shutil.copytree(student_folder, tmp_path / "copy")


def weights(folder):
    return folder / "model.safetensors"


def unsealed(folder):
    (folder / checkpoint.SEAL).unlink()
    return folder


def rewrite(folder, change):
    tensors = load_file(weights(folder))
    change(tensors)
    save_file(tensors, weights(folder), metadata={"format": "pt"})


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    return str(caught.value)


def test_a_sealed_checkpoint_loads_in_the_wanted_precision(folder):
    assert checkpoint.load(folder).model.dtype == torch.float32
    loaded = checkpoint.load(str(folder), dtype="bfloat16", attention="eager")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.end_ids == (4,)
    assert not loaded.model.training


def test_what_is_saved_loads_back_equal_and_is_saved_again_byte_for_byte(folder, tmp_path):
    first = checkpoint.load(folder)
    checkpoint.save(first, tmp_path / "one", base="b")
    second = checkpoint.load(tmp_path / "one")
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    checkpoint.save(second, tmp_path / "two", base="b")
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "two").iterdir())
    assert {"chat_template.jinja", "tokenizer.json", "processor_config.json"} < set(names)
    for name in names:
        data = (tmp_path / "one" / name).read_bytes()
        assert data == (tmp_path / "two" / name).read_bytes()
        assert str(tmp_path).encode() not in data
        assert str(folder).encode() not in data


def test_a_flipped_bit_is_found(folder):
    data = bytearray(weights(folder).read_bytes())
    data[-5] ^= 1
    weights(folder).write_bytes(data)
    assert "model.safetensors: sha256 differs" in refusal(folder)


def test_a_truncated_file_is_found_with_and_without_a_seal(folder):
    data = weights(folder).read_bytes()
    weights(folder).write_bytes(data[:-1])
    assert f"{len(data) - 1} bytes, chainsight.json says {len(data)}" in refusal(folder)
    assert "model.safetensors: damaged" in refusal(unsealed(folder))


def test_a_missing_listed_file_and_an_unlisted_one_are_found(folder):
    (folder / "extra.safetensors").write_bytes(weights(folder).read_bytes())
    assert "extra.safetensors: not listed" in refusal(folder)
    (folder / "extra.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json: missing" in refusal(folder)


def test_files_of_the_store_and_the_curves_may_stand_beside(folder):
    (folder / "manifest.json").write_text("{}")
    (folder / "history.jsonl").write_text("{}\n")
    checkpoint.load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "x.ckpt"])
def test_pickled_weights_are_refused_even_beside_safetensors(folder, name):
    (folder / name).write_bytes(b"\x80\x04")
    assert f"{name}: pickled weights" in refusal(folder)


def test_a_folder_of_pickled_weights_alone_is_refused(folder):
    weights(folder).rename(folder / "pytorch_model.bin")
    assert "pickled weights" in refusal(unsealed(folder))


def test_code_in_a_checkpoint_is_refused(folder):
    (folder / "modeling_llava.py").write_text("raise SystemExit")
    assert "modeling_llava.py: code" in refusal(folder)


@pytest.mark.parametrize("key", ["auto_map", "_attn_implementation_internal"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_configuration_that_would_run_code_is_refused(folder, key, nested):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    (config["text_config"] if nested else config)[key] = "evil/kernel"
    path.write_text(json.dumps(config))
    assert f"config.json: key '{key}' would run foreign code" in refusal(unsealed(folder))


def test_a_missing_tensor_is_named(folder):
    rewrite(folder, lambda tensors: tensors.pop(HEAD))
    assert "missing tensor lm_head.weight" in refusal(unsealed(folder))


def test_an_unexpected_tensor_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update({"odd.weight": torch.zeros(2)}))
    assert "unexpected tensor odd.weight" in refusal(unsealed(folder))


def test_a_tensor_of_the_wrong_shape_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update({HEAD: torch.zeros(2, 2)}))
    message = refusal(unsealed(folder))
    assert "mismatched tensor" in message
    assert "lm_head.weight" in message


def test_a_tied_output_layer_is_not_missing(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["tie_word_embeddings"] = config["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))
    rewrite(folder, lambda tensors: tensors.pop(HEAD))
    checkpoint.load(unsealed(folder))


def test_a_broken_configuration_ends_in_one_message(folder):
    (folder / "config.json").write_text("{")
    assert "config.json: not readable as JSON" in refusal(unsealed(folder))
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')
    assert "config.json: model_type 'no-such-model' is none of the families" in refusal(folder)


def test_a_seal_of_another_version_is_refused(folder):
    (folder / checkpoint.SEAL).write_text('{"format": 99, "files": {}}')
    assert "format 99, this version reads 1" in refusal(folder)


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    assert "no config.json" in refusal(tmp_path)
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "no such folder" in refusal("nowhere")


def test_an_attention_that_is_not_installed_ends_in_one_message(folder):
    with pytest.raises(CheckpointError, match="does not load"):
        checkpoint.load(folder, attention="flash_attention_2")


def test_a_fingerprint_is_of_the_content_and_ignores_the_place(folder, student_folder):
    before = checkpoint.fingerprint(folder)
    assert before == checkpoint.fingerprint(str(student_folder))
    (folder / "manifest.json").write_text("{}")
    assert checkpoint.fingerprint(folder) == before
    rewrite(folder, lambda tensors: tensors[HEAD][0].add_(1))
    assert checkpoint.fingerprint(folder) != before


def test_a_hub_id_is_fingerprinted_by_its_revision_without_a_network():
    assert checkpoint.fingerprint("owner/model", "abc") == "owner/model@abc"
    with pytest.raises(CheckpointError, match="no such folder"):
        checkpoint.fingerprint("./owner/model")


def test_an_outline_is_the_model_without_its_weights(student_folder):
    whole, outline = checkpoint.load(student_folder), checkpoint.outline(student_folder)
    shapes = [
        {name: (p.shape, p.dtype, p.device) for name, p in loaded.model.named_parameters()}
        for loaded in (whole, outline)
    ]
    assert shapes[0] == shapes[1]
    buffers = dict(whole.model.named_buffers())
    assert buffers
    for name, buffer in outline.model.named_buffers():  # computed, not read
        assert buffer.equal(buffers[name])
    assert outline.template.system_prompt == whole.template.system_prompt
    assert not outline.model.training
