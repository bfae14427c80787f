"""Each family: groups that share a prompt have the loss and the gradients of rows of their own.

The rows' inputs are made by transformers' own processor, their positions by the model itself.
"""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from chainsight.records import Example
from chainsight.vlm import checkpoint, families, grouping, prefix, sampling, template
from chainsight.vlm.asking import ask_modes
from chainsight.vlm.pictures import open_image
from chainsight.vlm.template import Prompt

EXACT = 1e-5


@pytest.fixture(params=sorted(families.FAMILIES))
def folder(request, family_folders):
    return family_folders[request.param]


@pytest.fixture
def ours(folder):
    return checkpoint.load(folder, attention=prefix.ATTENTION)


@pytest.fixture
def theirs(folder):
    """Apart, so that nothing a model keeps of one way helps the other."""
    return checkpoint.load(folder)


@pytest.fixture
def asked(ours, png):
    """(prompt, its rows): two questions about two pictures, one about one, one about none."""
    two = (png("red", (70, 40)), png("blue", (33, 64)))
    said = {
        Prompt("a", "Is <image 1> above <image 2>? Why?", two): ["yes, it is", "no", "y"],
        Prompt("b", "Is <image 1> above <image 2>? Say it in a word.", two): ["yes"],
        Prompt("c", "What is it?", (png("green", (20, 50)),)): ["a field"],
        Prompt("d", "What is two and two?", ()): ["four", "it is five"],
    }
    template = ours.template
    return [
        (
            prompt,
            [template.row(prompt, (*template.text_ids(a), template.end_of_turn)) for a in each],
        )
        for prompt, each in said.items()
    ]


def packed(loaded, asked):
    """One row of three groups: the first two questions share their pictures."""
    (_, first), (_, second), *others = asked
    groups = grouping.merge([*first, *second], loaded.template.image_id)
    for _, rows in others:
        groups += grouping.merge(rows, loaded.template.image_id)
    assert [len(group.branches) for group in groups] == [4, 1, 2]
    return grouping.batch(loaded, groups)


def shared_loss(model, batch, encoded=None):
    """Sum of -log p over all answers."""
    logits = model(**batch.arguments(encoded)).logits
    return -prefix.token_logps(logits, batch.layout).sum()


def plain_loss(loaded, model, asked):
    """The same from transformers' inputs, a row at a time."""
    total = torch.zeros(())
    for prompt, rows in asked:
        for row in rows:
            logits = model(**own_inputs(loaded, prompt, row), use_cache=False).logits[0]
            said = logits[len(row.prompt_ids) - 1 : -1].float()
            answer = torch.tensor(list(row.response_ids))
            total = total + functional.cross_entropy(said, answer, reduction="sum")
    return total


def own_inputs(loaded, prompt, row):
    """The processor's tensors of a prompt, an answer put behind it; positions are the model's."""
    pictures = [open_image(image, "").convert("RGB") for image in row.images]
    text = loaded.template.rendered(prompt)
    starts = text.startswith(str(loaded.template.tokenizer.bos_token))
    made = dict(
        loaded.processor(
            text=[text], images=pictures or None, add_special_tokens=not starts, return_tensors="pt"
        )
    )
    assert tuple(made["input_ids"][0].tolist()) == tuple(row.prompt_ids)
    answer = torch.tensor([list(row.response_ids)], dtype=torch.long)
    behind = {"input_ids": answer, "mm_token_type_ids": torch.zeros_like(answer)}
    made |= {
        name: torch.cat([torch.as_tensor(made[name]), behind[name]], 1)
        for name in behind.keys() & made.keys()
    }
    return made | {"attention_mask": torch.ones_like(made["input_ids"])}


def require_same_gradients(loss, model, wanted, reference):
    found = gradients(loss, model)
    right = gradients(wanted, reference)
    assert loss.item() == pytest.approx(wanted.item(), rel=EXACT)
    assert found.keys() == right.keys()
    apart = torch.stack([(found[name] - right[name]).norm() for name in right]).norm()
    assert apart / torch.stack([g.norm() for g in right.values()]).norm() < EXACT


def gradients(loss, model):
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def adapted(model):
    """With random adapters on the language model's layers, the same each time."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "language_model" in name
    ]
    torch.manual_seed(3)
    made = get_peft_model(model, LoraConfig(r=4, target_modules=names))
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    return made


def test_a_shared_prompt_is_exact_with_every_weight_trained(ours, theirs, asked):
    loss = shared_loss(ours.model, packed(ours, asked))
    wanted = plain_loss(theirs, theirs.model, asked)
    require_same_gradients(loss, ours.model, wanted, theirs.model)


def test_it_is_exact_with_checkpointing_and_pictures_encoded_once(ours, theirs, asked):
    for loaded in (ours, theirs):
        for name, parameter in loaded.model.named_parameters():
            parameter.requires_grad_(not loaded.family.vision.search(name))
    ours.model.gradient_checkpointing_enable({"use_reentrant": False})
    ours.model.train()
    batch = packed(ours, asked)
    encoded = ours.family.encode(ours.model, batch.pictures)
    loss = shared_loss(ours.model, batch, encoded)
    wanted = plain_loss(theirs, theirs.model, asked)
    require_same_gradients(loss, ours.model, wanted, theirs.model)


def test_it_is_exact_with_adapters_and_without_them_for_the_reference(ours, theirs, asked):
    batch = packed(ours, asked)
    with torch.no_grad():
        encoded = ours.family.encode(ours.model, batch.pictures)
        wanted = plain_loss(theirs, theirs.model, asked)
    policy, plain = adapted(ours.model), adapted(theirs.model)
    with policy.disable_adapter(), torch.no_grad():
        assert shared_loss(policy, batch, encoded).item() == pytest.approx(wanted.item(), rel=EXACT)
    loss, wanted = shared_loss(policy, batch, encoded), plain_loss(theirs, plain, asked)
    require_same_gradients(loss, policy, wanted, plain)


def test_pictures_are_seen_and_in_their_order(ours, png):
    """Else the tests above would hold for a blind model, too."""
    red, blue = (png(colour, (40, 40)) for colour in ("red", "blue"))
    rows = [ours.template.row(Prompt("a", "Which?", pair), (9, 10, 11)) for pair in
            ((red, blue), (blue, red), (red, red))]  # fmt: skip
    with torch.no_grad():
        batches = [grouping.batch(ours, [grouping.alone(row)]) for row in rows]
        losses = [shared_loss(ours.model, batch).item() for batch in batches]
    for one, other in combinations(losses, 2):
        assert abs(one - other) > 1e-3


def test_answers_equal_those_of_the_models_own_positions(ours, theirs, asked):
    found = sampling.generate(
        ours, [prompt for prompt, _ in asked], max_new_tokens=12, num_candidates=2
    )
    for (prompt, rows), (one, other) in zip(asked, found, strict=True):
        ids = greedy(theirs, prompt, rows[0], 12)
        said = [i for i in ids if i not in ours.end_ids]
        assert one == other
        assert one.num_tokens == len(ids)
        assert one.text == ours.template.tokenizer.decode(said, skip_special_tokens=True)


def test_both_modes_asked_together_are_those_asked_alone(ours, png):
    red, blue = png("red", (70, 40)), png("blue", (33, 64))
    examples = [
        Example(f"t/{n}", "t", "test", text, ("1",), "exact_match", images)
        for n, (text, images) in enumerate(
            (
                ("Is <image 1> above <image 2>?", (red, blue)),
                ("Who?", (red,)),
                ("Where?", (red,)),
                ("What is two and two?", ()),
            )
        )
    ]
    limits = {"direct": 3, "cot": 8}
    found = {
        (number, mode): reply.text
        for number, mode, reply in ask_modes(ours, examples, limits, style="paper", batch_size=16)
    }
    for mode, limit in limits.items():
        prompts = [template.student(example, mode) for example in examples]
        for number, prompt in enumerate(prompts):
            ((alone,),) = sampling.generate(ours, [prompt], max_new_tokens=limit)
            assert found[number, mode] == alone.text


def greedy(loaded, prompt, row, num_tokens):
    ids = []
    while len(ids) < num_tokens and not (ids and ids[-1] in loaded.end_ids):
        with torch.no_grad():
            inputs = own_inputs(loaded, prompt, replace(row, response_ids=tuple(ids)))
            logits = loaded.model(**inputs).logits[0, -1]
        logits[loaded.template.image_id] = -torch.inf  # it would stand for a picture
        ids.append(int(logits.argmax()))
    return ids


def test_every_weight_is_of_the_tower_the_projector_or_the_language_model(ours):
    decoder = {id(p) for p in ours.family.language_model(ours.model).parameters()}
    decoder |= {id(p) for p in ours.model.get_output_embeddings().parameters()}
    for name, parameter in ours.model.named_parameters():
        patterns = (ours.family.vision, ours.family.projector)
        parts = [*(bool(p.search(name)) for p in patterns), id(parameter) in decoder]
        assert sum(parts) == 1, name


def test_the_tower_computes_all_pictures_at_once_and_is_left_alone_without_any(ours, asked):
    inner, counted = ours.model.model, []
    tower = inner.visual if ours.family.axes == 3 else inner.vision_tower
    tower.register_forward_pre_hook(lambda _, given: counted.append(len(given[0])))
    batch = packed(ours, asked)
    ours.family.encode(ours.model, batch.pictures)
    assert ours.family.encode(ours.model, {}) == {}
    assert counted == [len(batch.pictures["pixel_values"])]


def test_a_checkpoint_that_is_saved_again_is_the_same(ours, asked, tmp_path):
    checkpoint.save(ours, tmp_path / "again", base="here")
    again = checkpoint.load(tmp_path / "again", attention=prefix.ATTENTION)
    assert {p.name for p in again.folder.iterdir()} == {
        p.name for p in ours.folder.iterdir() if p.name != "preprocessor_config.json"
    } | {"MLmodel"}
    with torch.no_grad():
        losses = [shared_loss(one.model, packed(one, asked)).item() for one in (ours, again)]
    assert losses[0] == losses[1]
