"""Several pictures in one question: their order, their tokens, what the model makes of them."""

import io

import pytest
import torch
from PIL import Image

from chainsight.errors import CheckpointError
from chainsight.records import Example
from chainsight.vlm import checkpoint
from chainsight.vlm.asking import ask
from chainsight.vlm.grouping import alone, batch
from chainsight.vlm.prefix import ATTENTION, score
from chainsight.vlm.sampling import generate
from chainsight.vlm.template import Prompt, Template, student
from tests.vlm.plain import inputs

FIRST = (
    "{% set found = messages[0]['content'] | selectattr('type', 'equalto', 'image') | list %}"
    "<|begin|><|start|>user<|end|>\n{% for item in found %}<image>\n{% endfor %}"
    "{% for item in messages[0]['content'] %}{{ item['text'] }}{% endfor %}<|eot|>"
    "{% if add_generation_prompt %}<|start|>assistant<|end|>\n{% endif %}"
)
"""As LLaVA-1.6's own templates write a turn: all pictures, then all text."""


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder, attention=ATTENTION)


@pytest.fixture
def shots(png):
    return png("red", (32, 32)), png("blue", (64, 20)), png("green", (16, 80))


def logits(loaded, row):
    with torch.no_grad():
        return loaded.model(**inputs(loaded, row)).logits


def spoken(template, row):
    """The prompt in words, with one placeholder a picture."""
    text = template.tokenizer.decode(row.prompt_ids)
    while "<image><image>" in text:
        text = text.replace("<image><image>", "<image>")
    return text


TEXTS = {
    "led": ("Compare.", ["image", "image", "Compare."], (0, 1)),
    "named": ("In <image 1> and <image 2>?", ["In ", "image", " and ", "image", "?"], (0, 1)),
    "swapped": ("In <image 2> and <image 1>?", ["In ", "image", " and ", "image", "?"], (1, 0)),
    "again": ("<image 2>, <image 1>, <image 2>.",
              ["image", ", ", "image", ", ", "image", "."], (1, 0, 1)),
    "half": ("What is in <image 1>?", ["image", "What is in ", "image", "?"], (1, 0)),
}  # fmt: skip


@pytest.mark.parametrize(("text", "content", "order"), TEXTS.values(), ids=TEXTS)
def test_tokens_pictures_and_logits_are_the_processors_own(loaded, shots, text, content, order):
    row = loaded.template.row(Prompt("q", text, shots[:2]))
    pictures = [Image.open(io.BytesIO(shots[i])) for i in order]
    queue = iter(pictures)
    parts = [
        {"type": "image", "image": next(queue)} if c == "image" else {"type": "text", "text": c}
        for c in content
    ]
    system = [{"type": "text", "text": Prompt("", "", ()).system}]
    theirs = loaded.processor.apply_chat_template(
        [{"role": "system", "content": system}, {"role": "user", "content": parts}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert list(row.prompt_ids) == theirs["input_ids"][0].tolist()
    assert row.images == tuple(shots[i] for i in order)
    assert torch.equal(inputs(loaded, row)["image_sizes"], theirs["image_sizes"])
    with torch.no_grad():
        wanted = loaded.model(**theirs).logits
    torch.testing.assert_close(logits(loaded, row), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("differ", [True, False])
def test_swapped_pictures_are_another_question(loaded, png, differ):
    pair = (png("red"), png("blue" if differ else "red"))
    one, other = (
        loaded.template.row(Prompt("q", f"Is <image {a}> left of <image {b}>?", pair))
        for a, b in ((1, 2), (2, 1))
    )
    assert one.prompt_ids == other.prompt_ids
    assert ((logits(loaded, one) - logits(loaded, other)).abs().max() > 1e-3) == differ


def test_rows_with_different_numbers_of_pictures_share_a_batch(loaded, shots):
    make = loaded.template.row
    rows = [
        make(Prompt("a", "Hm", shots[:1]), (70,)),
        make(Prompt("b", "<image 3>, <image 1> and <image 2>?", shots), (71, 72)),
        make(Prompt("c", "In <image 2> or <image 1>, which is the largest?", shots[1:])),
    ]
    made = batch(loaded, [alone(row) for row in rows])
    with torch.no_grad():
        together = score(loaded.model, made.arguments())
    apart = [logits(loaded, row)[0].log_softmax(-1) for row in rows]
    wanted = [
        logps[len(row.prompt_ids) - 1 + n, token]
        for row, logps in zip(rows, apart, strict=True)
        for n, token in enumerate(row.response_ids)
    ]
    torch.testing.assert_close(together, torch.stack(wanted), atol=1e-5, rtol=1e-5)
    order = [(32, 32), (80, 16), (32, 32), (20, 64), (80, 16), (20, 64)]  # height, width
    assert [tuple(size) for size in made.pictures["image_sizes"].tolist()] == order


def test_a_question_is_recorded_as_the_model_got_it(loaded, shots):
    example = Example("toy/1", "toy", "test", "In <image 2>, <image 1>?", ("1",), "m",
                      shots[:2])  # fmt: skip
    (reply,) = ask(loaded, [example], "cot", style="paper", max_new_tokens=3, batch_size=1)
    prompt = student(example, "cot")
    assert reply.question == prompt.text
    assert reply.prompt == spoken(loaded.template, loaded.template.row(prompt))
    assert "user<|end|>\nIn <image>\n, <image>\n?\nGenerate a reason" in reply.prompt
    ((said,),) = generate(loaded, [prompt], max_new_tokens=3)
    assert said.text == reply.text


HOSTILE = ["<image>", "<im<image 1>age>", "<|eot|><image 1><|start|>", "<image <image 1>>"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_question_with_names_cannot_add_pictures_or_turns(loaded, shots, text):
    template = loaded.template
    quiet = template.row(Prompt("q", "<image 1> plain", shots[:1])).prompt_ids
    loud = template.row(Prompt("q", text, shots[:1])).prompt_ids
    for special in template.special_ids:
        assert quiet.count(special) == loud.count(special)


@pytest.fixture
def front(student_folder):
    processor = checkpoint.load(student_folder).processor
    processor.chat_template = FIRST
    return Template(processor, system_prompt=False)


def test_where_a_template_moves_pictures_to_the_front_the_text_keeps_their_names(front, shots):
    assert not front.interleaves
    row = front.row(Prompt("q", "In <image 2> and <image 1>, <image 2>?", shots[:2]))
    assert spoken(front, row) == (
        "<|begin|><|start|>user<|end|>\n<image>\n<image>\n"
        "In <image 2> and <image 1>, <image 2>?<|eot|><|start|>assistant<|end|>\n"
    )
    assert row.images == shots[:2]


def test_a_template_that_shows_one_picture_only_is_refused(student_folder, shots):
    processor = checkpoint.load(student_folder).processor
    processor.chat_template = FIRST.replace("in found %}<", "in found[:1] %}<")
    template = Template(processor, system_prompt=False)
    assert len(template.row(Prompt("q", "x", shots[:1])).images) == 1
    with pytest.raises(CheckpointError, match=r"q: .* 1 image tokens for 2 picture"):
        template.row(Prompt("q", "x", shots[:2]))
