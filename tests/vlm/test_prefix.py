"""Shared prefixes against plain rows, each computed by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from plain import errors, group

from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import batch
from chainsight.vlm.prefix import IGNORED, Branch, Group, lay_out

EXACT = 1e-5
Png = Callable[..., bytes]


@pytest.fixture
def loaded(student_folder: Path) -> Loaded:
    """Grouped queries: four heads on two of keys."""
    return checkpoint.load(student_folder, attention=prefix.implementation("sdpa"))


def adapted(loaded: Loaded) -> Any:
    """With adapters that do something."""
    made = LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model.*_proj")
    model: Any = get_peft_model(loaded.model, made)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    return model.train()


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("num_branches", [1, 2, 4, 8])
def test_loss_and_gradient_are_those_of_plain_rows(
    num_branches: int, tuning: str, recomputed: bool, loaded: Loaded, png: Png
) -> None:
    model = loaded.model.train() if tuning == "full" else adapted(loaded)
    if recomputed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    groups = [
        group(loaded, "What is it?", num_branches, (png("red"),)),
        group(loaded, "And that, in all of its glory?", 2, (png("blue", (16, 32)),)),
    ]
    loss, slope = errors(model, loaded, groups)
    assert loss < EXACT
    assert slope < EXACT


def test_text_and_pictures_in_one_batch_are_those_of_plain_rows(loaded: Loaded, png: Png) -> None:
    groups = [
        group(loaded, "Nothing to be seen?", 3),
        group(loaded, "Two of them.", 2, (png("red"), png("green", (16, 32)))),
        group(loaded, "Nothing again.", 1),
        group(loaded, "One.", 4, (png("blue"),)),
    ]
    assert max(errors(loaded.model, loaded, groups)) < EXACT


def test_text_alone_is_that_of_plain_rows(loaded: Loaded) -> None:
    groups = [group(loaded, "Nothing to be seen?", 3), group(loaded, "Nor here.", 2)]
    assert max(errors(loaded.model, loaded, groups)) < EXACT


def test_parts_of_a_branch_may_go_unlearned(loaded: Loaded, png: Png) -> None:
    whole = group(loaded, "What is it?", 4, (png("red"),), seed=1)
    branches = tuple(
        Branch(b.ids, [i if n % 3 else IGNORED for n, i in enumerate(b.ids, n)])
        for n, b in enumerate(whole.branches)
    )
    groups = [Group(whole.prompt_ids, branches, whole.images)]
    assert max(errors(loaded.model, loaded, groups)) < EXACT


def test_branches_longer_than_the_prompt_are_those_of_plain_rows(loaded: Loaded) -> None:
    """Each is a bunch of its own then."""
    answers = [tuple(range(70, 70 + n)) for n in (40, 3, 35, 2, 2, 1, 30)]
    groups = [Group((1, 80, 81, 82, 83, 84), tuple(Branch(a, a) for a in answers))]
    assert max(errors(loaded.model, loaded, groups)) < EXACT


def test_pictures_may_be_encoded_beforehand(loaded: Loaded, png: Png) -> None:
    groups = [group(loaded, "a", 2, (png("red"),)), group(loaded, "b", 2, (png("blue"),))]
    made = batch(loaded, groups)
    with torch.no_grad():
        encoded = loaded.family.encode(loaded.model, made.pictures)
        found = prefix.score(loaded.model, made.arguments(encoded))
        assert torch.equal(found, prefix.score(loaded.model, made.arguments()))


def test_the_prompt_stands_in_the_row_once(loaded: Loaded, png: Png) -> None:
    one = group(loaded, "What is it?", 8, (png("red"),))
    made = batch(loaded, [one])
    assert made.layout.input_ids.shape[1] == len(one.prompt_ids) + sum(
        len(branch.ids) for branch in one.branches
    )
    assert len(made.pictures["pixel_values"]) == len(
        loaded.template.pictures(png("red"), "")["pixel_values"]
    )


def test_a_branch_without_learned_tokens_scores_nothing(loaded: Loaded) -> None:
    layout = lay_out(
        [Group((1, 2), (Branch((3,), (IGNORED,)), Branch((4,), (4,)), Branch((), ())))]
    )
    logps = prefix.score(loaded.model, prefix.forward(layout, layout.positions[0]))
    assert prefix.branch_sums(logps, layout).tolist() == [0.0, logps.item(), 0.0]


def test_nothing_learned_at_all_gives_a_loss_of_zero_with_a_gradient(loaded: Loaded) -> None:
    layout = lay_out([Group((1, 2), (Branch((3,), (IGNORED,)),))])
    logps = prefix.score(loaded.model, prefix.forward(layout, layout.positions[0]))
    logps.sum().backward()
    assert logps.shape == (0,)


# --- the layout itself -----------------------------------------------------------------------

A = Group((10, 11, 12), (Branch((20, 21), (IGNORED, 21)), Branch((30,), (30,))), (), "a")
B = Group((13, 14), (Branch((40, 41), (40, 41)),), (), "b")


def test_groups_stand_one_behind_the_other() -> None:
    layout = lay_out([A, B])
    assert layout.input_ids.tolist() == [[10, 11, 12, 20, 21, 30, 13, 14, 40, 41]]
    assert layout.positions.tolist() == [[[0, 1, 2, 3, 4, 3, 0, 1, 2, 3]]]
    assert layout.groups.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert layout.branches.tolist() == [0, 0, 0, 1, 1, 2, 0, 0, 3, 3]


def test_a_first_token_is_predicted_from_the_end_of_the_prompt() -> None:
    layout = lay_out([A, B])
    assert layout.sources.tolist() == [3, 2, 7, 8]
    assert layout.targets.tolist() == [21, 30, 40, 41]
    assert layout.owners.tolist() == [0, 1, 2, 2]


def test_a_token_sees_its_prompt_and_its_own_branch() -> None:
    rows = [
        "1         ", "11        ", "111       ", "1111      ", "11111     ",
        "111  1    ", "      1   ", "      11  ", "      111 ", "      1111",
    ]  # fmt: skip
    seen = lay_out([A, B]).dense()[0, 0]
    assert ["".join("1" if see else " " for see in row) for row in seen.tolist()] == rows


def test_positions_go_on_from_the_prompts_highest() -> None:
    """Multimodal rotary positions end below the number of tokens."""
    own = torch.tensor([[0, 1, 1], [0, 1, 2], [0, 3, 1]])
    layout = lay_out([A], [own])
    assert layout.positions[:, 0, 3:].tolist() == [[4, 5, 4]] * 3


def test_ids_may_be_arrays(loaded: Loaded) -> None:
    def arrays(group: Group) -> Group:
        branches = (Branch(np.array(b.ids), np.array(b.labels)) for b in group.branches)
        return Group(np.array(group.prompt_ids, np.int32), tuple(branches))  # type: ignore[arg-type]

    found, wanted = lay_out([arrays(A), arrays(B)]), lay_out([A, B])
    assert torch.equal(found.input_ids, wanted.input_ids)
    assert torch.equal(found.targets, wanted.targets)


def test_a_layout_moves_without_what_was_made_of_it() -> None:
    layout = lay_out([A, B])
    layout.keep("something", lambda made: made.num_branches)
    moved = layout.to(torch.device("meta"))
    assert moved.kept == {}
    assert {moved.input_ids.device.type, moved.owners.device.type} == {"meta"}


def test_a_group_without_a_prompt_is_refused() -> None:
    with pytest.raises(AssertionError, match="b: a group needs a prompt"):
        lay_out([Group((), B.branches, (), "b")])
