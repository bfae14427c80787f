"""What all tests share: a random LLaVA-NeXT of about 0.1 M parameters, made here, on CPU."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

CONTROLS = ["<|pad|>", "<|begin|>", "<|end|>", "<|start|>", "<|eot|>", "<image>"]
CHAT = (
    "<|begin|>{% for message in messages %}<|start|>{{ message['role'] }}<|end|>\n"
    "{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<image>\n{% else %}{{ item['text'] }}{% endif %}"
    "{% endfor %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|end|>\n{% endif %}"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--if-possible", action="store_true", help="skip, loudly, what this machine cannot show"
    )


@pytest.fixture(autouse=True, scope="session")
def _callers_name_without_the_whole_stack() -> Iterator[None]:
    """At each setting of a task kfp asks `inspect.stack()` for one name, which below pytest, with
    torch and its like imported, looks through all modules: half of the time of all tests."""
    from kfp.dsl import pipeline_task

    name = SimpleNamespace(stack=lambda: [(), ("", "", "", sys._getframe(2).f_code.co_name)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_task, "inspect", name)
        yield


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed checkpoint folder; read only, copy it before changing it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.llava_next.image_processing_pil_llava_next import (
        LlavaNextImageProcessorPil,
    )

    from chainsight.vlm import checkpoint

    torch.set_num_threads(1)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*CONTROLS, *alphabet])}
    bytewise = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        bos_token="<|begin|>",
        eos_token="<|eot|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|start|>", "<|end|>"],
        extra_special_tokens={"image_token": "<image>"},
    )
    grids = [[32, 32], [16, 32], [32, 16]]
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
        image_grid_pinpoints=grids,
    )
    processor = LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=CHAT,
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        image_size=16, patch_size=8, projection_dim=32,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=4, pad_token_id=0,
    )  # fmt: skip
    config = LlavaNextConfig(
        vision_config=vision, text_config=text, image_token_index=5, image_grid_pinpoints=grids,
        vision_feature_layer=-1, vision_feature_select_strategy="default", image_seq_length=4,
    )  # fmt: skip
    torch.manual_seed(7)
    model = LlavaNextForConditionalGeneration(config).float()
    for name, parameter in model.named_parameters():
        if "language_model" in name and parameter.dim() > 1:
            parameter.data.mul_(4)  # so that answers differ from prompt to prompt
    folder = tmp_path_factory.mktemp("student")
    model.generation_config.eos_token_id = 4
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    checkpoint.seal(folder, base="random", kind="full", system_prompt=True)
    return folder


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Makes a one-coloured picture: `png("red", (40, 30))`."""

    def make(colour: str = "red", size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
        file = io.BytesIO()
        Image.new(mode, size, colour).save(file, format="PNG")
        return file.getvalue()

    return make
