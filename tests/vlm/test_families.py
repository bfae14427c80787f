"""Each family: groups that share a prompt have the loss and the gradients of rows of their own.

The rows' inputs are made by transformers' own processor, their positions by the model itself.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from chainsight.errors import CheckpointError
from chainsight.vlm import checkpoint, families, grouping, prefix
from chainsight.vlm.prefix import IGNORED
from chainsight.vlm.template import Prompt

NAMES = sorted(families.FAMILIES)
EXACT = 1e-5


@pytest.fixture(params=NAMES)
def folder(request, family_folders):
    return family_folders[request.param]


def questions(png):
    """Two about two pictures, one about one, one about none; some with several answers."""
    two = (png("red", (70, 40)), png("blue", (33, 64)))
    one = (png("green", (20, 50)),)
    return [
        (Prompt("a", "Is <image 1> above <image 2>? Why?", two), ["yes, it is", "no", "y"]),
        (Prompt("b", "Is <image 1> above <image 2>? Say it in a word.", two), ["yes"]),
        (Prompt("c", "What is it?", one), ["a field"]),
        (Prompt("d", "What is two and two?", ()), ["four", "it is five"]),
    ]


def rows_of(template, png):
    end = template.end_of_turn
    return [
        [template.row(prompt, (*template.text_ids(answer), end)) for answer in answers]
        for prompt, answers in questions(png)
    ]


def shared_loss(loaded, rows, *, encode=False, model=None):
    """Sum of -log p, from one packed row; the first two questions share their pictures."""
    first, second, *others = rows
    image_id = loaded.template.image_id
    groups = grouping.merge([*first, *second], image_id)
    assert len(groups) == 1, "one prompt for both questions"
    for one in others:
        groups += grouping.merge(one, image_id)
    batch = grouping.batch(loaded, groups)
    encoded = loaded.family.encode(loaded.model, batch.pictures) if encode else None
    logits = (model or loaded.model)(**batch.arguments(encoded)).logits
    return -prefix.token_logps(logits, batch.layout).sum()


def plain_loss(loaded, png, rows, model=None):
    """The same from the processor's inputs, a row at a time, each with the model's positions."""
    total = torch.zeros(())
    for (prompt, _), several in zip(questions(png), rows, strict=True):
        for row in several:
            inputs = own_inputs(loaded, prompt, row)
            logits = (model or loaded.model)(**inputs, use_cache=False).logits[0]
            said = logits[len(row.prompt_ids) - 1 : -1]
            answer = torch.tensor(row.response_ids)
            total = total + functional.cross_entropy(said.float(), answer, reduction="sum")
    return total


def own_inputs(loaded, prompt, row):
    """transformers' inputs of a prompt and of an answer behind it."""
    pictures = [grouping_image(image) for image in row.images]
    made = loaded.processor(
        text=[loaded.template.rendered(prompt)],
        images=pictures or None,
        add_special_tokens=not loaded.template.rendered(prompt).startswith("<|begin|>"),
        return_tensors="pt",
    )
    inputs = dict(made)
    assert tuple(inputs["input_ids"][0].tolist()) == row.prompt_ids
    answer = torch.tensor([row.response_ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        kinds = torch.as_tensor(inputs["mm_token_type_ids"])
        inputs["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(answer)], 1)
    return inputs


def grouping_image(image):
    from chainsight.vlm.pictures import open_image

    return open_image(image, "").convert("RGB")


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def require_equal(found, wanted):
    assert found.keys() == wanted.keys()
    assert found
    size = torch.stack([g.square().sum() for g in wanted.values()]).sum().sqrt()
    apart = torch.stack([(found[n] - wanted[n]).square().sum() for n in wanted]).sum().sqrt()
    assert apart / size < EXACT


def both(folder):
    """The engine's model and the reference, apart, so that nothing is kept from one for another."""
    return checkpoint.load(folder, attention=prefix.ATTENTION), checkpoint.load(folder)


def test_a_shared_prompt_is_exact_with_every_weight_trained(folder, png):
    ours, theirs = both(folder)
    rows = rows_of(ours.template, png)
    loss, wanted = shared_loss(ours, rows), plain_loss(theirs, png, rows)
    assert loss.item() == pytest.approx(wanted.item(), rel=EXACT)
    require_equal(gradients(loss, ours.model), gradients(wanted, theirs.model))
