"""Nine kinds of corrupt checkpoints are refused by name, and no sound one is."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from chainsight.errors import CheckpointError
from chainsight.vlm import checkpoint
from chainsight.vlm.checkpoint import Adapter, Base
from chainsight.vlm.sampling import generate
from chainsight.vlm.template import Prompt

Q_PROJ = "model.language_model.layers.0.self_attn.q_proj"
HEAD = "language_model.lm_head.weight"


def edit(folder, name, change):
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def unseal(folder):
    (folder / checkpoint.SEAL).unlink()


def reseal(folder):
    checkpoint.seal(folder, base="b", kind="full", system_prompt=True)


# --- corrupt ---------------------------------------------------------------------------------


def truncation(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flipped_bit(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def bin_instead(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def key_in_config(name):
    def corrupt(folder):
        edit(folder, "config.json", lambda c: c["text_config"].update({name: "evil/kernel"}))

    return corrupt


def processor(name, value):
    def corrupt(folder):
        edit(folder, "processor_config.json", lambda c: c.update({name: value}))

    return corrupt


def other_pinpoints(folder):
    edit(
        folder,
        "processor_config.json",
        lambda c: c["image_processor"].update(image_grid_pinpoints=[[64, 64]]),
    )


def no_processor(folder):
    (folder / "processor_config.json").unlink()


def larger_vocabulary(folder):
    def add(content):
        content["added_tokens"] += [
            {"id": 900, "content": "<new>", "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
        ]  # fmt: skip

    edit(folder, "tokenizer.json", add)


CORRUPT = {
    "truncation": (truncation, "model.safetensors"),
    "missing tensor": (lambda f: rewrite(f, lambda t: t.pop(HEAD)), "missing tensor lm_head"),
    "extra tensor": (
        lambda f: rewrite(f, lambda t: t.update({"odd.weight": torch.zeros(2)})),
        "unexpected tensor odd.weight",
    ),
    "bin instead": (bin_instead, "pytorch_model.bin: pickled weights"),
    "py beside": (lambda f: (f / "modeling.py").write_text(""), "modeling.py: code"),
    "auto_map": (key_in_config("auto_map"), "config.json: key 'auto_map'"),
    "attention kernel": (
        key_in_config("_attn_implementation_internal"),
        "key '_attn_implementation_internal'",
    ),
    "remote code": (key_in_config("trust_remote_code"), "key 'trust_remote_code'"),
    "another architecture": (
        lambda f: edit(f, "config.json", lambda c: c.update(model_type="lightglue")),
        "model_type 'lightglue' is none of the families that are known here: llava, llava_next, ",
    ),
    "processor of other tiles": (other_pinpoints, "wrong processor: its image_grid_pinpoints"),
    "processor of other patches": (processor("patch_size", 4), "wrong processor: its patch_size"),
    "processor of another image token": (
        lambda f: edit(f, "config.json", lambda c: c.update(image_token_index=9)),
        "wrong processor: its image token '<image>' is 5, the model's is 9",
    ),
    "processor without a chat template": (
        lambda f: (f / "chat_template.jinja").unlink(),
        "wrong processor: it has no chat template",
    ),
    "processor of another class": (
        processor("processor_class", "LlavaProcessor"),
        "wrong processor: LlavaProcessor",
    ),
    "no processor": (no_processor, "processor"),
    "tokenizer of a larger vocabulary": (larger_vocabulary, "wrong processor: its tokenizer has"),
}


@pytest.fixture
def saved(student_folder, tmp_path):
    folder = tmp_path / "saved"
    checkpoint.save(checkpoint.load(student_folder), folder, base="random")
    return folder


@pytest.mark.parametrize("corrupt", CORRUPT)
def test_a_corrupt_checkpoint_without_a_seal_is_refused_by_name(saved, corrupt):
    damage, named = CORRUPT[corrupt]
    unseal(saved)
    damage(saved)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved)
    assert named in str(caught.value)
    assert str(saved) in str(caught.value)


SEALED = {**{name: damage for name, (damage, _) in CORRUPT.items()}, "flipped bit": flipped_bit}


@pytest.mark.parametrize("corrupt", SEALED)
def test_a_sealed_checkpoint_shows_every_change_before_it_is_loaded(saved, corrupt):
    SEALED[corrupt](saved)
    with pytest.raises(CheckpointError, match=r"saved/\w"):
        checkpoint.verify(saved)


# --- good ------------------------------------------------------------------------------------


def save(**options):
    def make(student, folder):
        checkpoint.save(checkpoint.load(student), folder, base="b", **options)

    return make


def copy(change=lambda folder: None):
    def make(student, folder):
        shutil.copytree(student, folder)
        change(folder)

    return make


def shard(seal):
    def make(student, folder):
        loaded = checkpoint.load(student)
        loaded.model.save_pretrained(folder, max_shard_size="100KB")
        loaded.processor.save_pretrained(folder)
        assert len(list(folder.glob("*.safetensors"))) > 2
        if seal:
            reseal(folder)

    return make


def tie(folder):
    unseal(folder)
    edit(folder, "config.json", lambda c: c.update(tie_word_embeddings=True))
    edit(folder, "config.json", lambda c: c["text_config"].update(tie_word_embeddings=True))
    rewrite(folder, lambda tensors: tensors.pop(HEAD))


def tied_and_saved(student, folder):
    before = folder.with_name("tied")
    copy(tie)(student, before)
    checkpoint.save(checkpoint.load(before), folder, base="b")


def adapter(stabilised):
    def make(student, folder):
        draws = torch.Generator().manual_seed(0)
        pair = torch.randn(2, 48, generator=draws), torch.randn(48, 2, generator=draws)
        on = Base(str(student), checkpoint.content_digest(student, {}))
        made = Adapter(2, 1.0, {Q_PROJ: pair})
        checkpoint.save_adapter(made, folder, on=on, base="b", dtype="float32")
        edit(folder, "adapter_config.json", lambda c: c.update(use_rslora=stabilised))
        checkpoint.seal(folder, base="b", kind="adapter", base_model=vars(on))

    return make


def merged(student, folder):
    adapter(False)(student, folder.with_name("adapter"))
    made = checkpoint.load(folder.with_name("adapter"))
    checkpoint.save(made, folder, base="b", kind="lora-merged")


def company(folder):
    for name in ("manifest.json", "summary.json", "history.jsonl"):
        (folder / name).write_text("{}")
    for name in ("README.md", ".gitattributes", "registered_model_meta", "report.html"):
        (folder / name).write_text("")


def harmless_keys(folder):
    unseal(folder)
    edit(folder, "config.json", lambda c: c.update(trust_remote_code=False))


def template_in_the_tokenizer(folder):
    unseal(folder)
    text = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    edit(folder, "tokenizer_config.json", lambda c: c.update(chat_template=text))


def older_layout(folder):
    """Where the image processor had a file of its own."""
    unseal(folder)
    content = json.loads((folder / "processor_config.json").read_text())
    images = content.pop("image_processor")
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    (folder / "processor_config.json").write_text(json.dumps(content))


def padded_vocabulary(student, folder):
    loaded = checkpoint.load(student)
    loaded.model.resize_token_embeddings(320)
    checkpoint.save(loaded, folder, base="b")


def without_generation_config(folder):
    unseal(folder)
    (folder / "generation_config.json").unlink()


def original_llava(student, folder):
    """Another architecture: pictures of one tile."""
    from transformers import (
        CLIPImageProcessorPil,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    given = checkpoint.load(student)
    config = LlavaConfig(
        vision_config=given.model.config.vision_config,
        text_config=given.model.config.text_config,
        image_token_index=5,
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config)
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
        ),
        tokenizer=given.processor.tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=given.processor.chat_template,
    ).save_pretrained(folder)


def no_system_prompt(folder):
    checkpoint.seal(folder, base="random", kind="full", system_prompt=False)


GOOD = {
    "saved by us": (save(), {}),
    "sealed before MLmodel": (copy(), {}),
    "without a seal": (copy(unseal), {}),
    "no system prompt": (copy(no_system_prompt), {}),
    "saved in bfloat16": (save(dtype="bfloat16"), {}),
    "saved and loaded in bfloat16": (save(dtype="bfloat16"), {"dtype": "bfloat16"}),
    "saved in float16": (save(dtype="float16"), {}),
    "loaded in bfloat16": (save(), {"dtype": "bfloat16"}),
    "eager attention": (save(), {"attention": "eager"}),
    "sharded": (shard(seal=True), {}),
    "sharded without a seal": (shard(seal=False), {}),
    "tied output layer": (copy(tie), {}),
    "tied output layer saved by us": (tied_and_saved, {}),
    "adapter": (adapter(False), {}),
    "adapter with a stabilised rank": (adapter(True), {}),
    "adapter in bfloat16": (adapter(False), {"dtype": "bfloat16"}),
    "merged adapter": (merged, {}),
    "other files beside": (copy(company), {}),
    "remote code declined": (copy(harmless_keys), {}),
    "template in the tokenizer": (copy(template_in_the_tokenizer), {}),
    "older layout": (copy(older_layout), {}),
    "vocabulary padded": (padded_vocabulary, {}),
    "no generation_config.json": (copy(without_generation_config), {}),
    "original LLaVA": (original_llava, {}),
}


@pytest.mark.parametrize("good", GOOD)
def test_a_sound_checkpoint_loads_and_answers(student_folder, tmp_path, png, good):
    make, options = GOOD[good]
    make(student_folder, tmp_path / "good")
    loaded = checkpoint.load(tmp_path / "good", **options)
    ((answer,),) = generate(loaded, [Prompt("q", "How many?", (png(),))], max_new_tokens=2)
    assert answer.num_tokens > 0


def test_the_model_that_ships_with_chainsight_is_sound():
    checkpoint.load("builtin:tiny")
