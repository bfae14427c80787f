"""Mistakes that shared prefixes invite. Each test makes the mistake once, and must see it.

Numbers without any mistake are in test_prefix.py; here they are asserted beside, by the same ruler.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from plain import group, row, row_logps
from torch.utils.checkpoint import CheckpointError
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from chainsight.vlm import checkpoint, grouping, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import Batch, batch, merge
from chainsight.vlm.prefix import ATTENTION, Group

EXACT = 1e-4
"""Largest difference of a token's log-probability in float32: these models' reach -12."""
WRONG = 10 * EXACT
Png = Callable[..., bytes]


@pytest.fixture
def loaded(student_folder: Path) -> Loaded:
    return checkpoint.load(student_folder, attention=prefix.implementation("sdpa"))


@pytest.fixture
def groups(loaded: Loaded, png: Png) -> list[Group]:
    return [
        group(loaded, "What is it?", 3, (png("red"),)),
        group(loaded, "And that?", 2, (png("blue", (16, 32)),), seed=1),
    ]


@pytest.fixture
def made(loaded: Loaded, groups: list[Group]) -> Batch:
    return batch(loaded, groups)


@pytest.fixture
def wanted(loaded: Loaded, groups: list[Group]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(row_logps(loaded.model, loaded, groups))


def error(loaded: Loaded, wanted: torch.Tensor, arguments: dict[str, Any]) -> float:
    with torch.no_grad():
        return float((prefix.score(loaded.model, arguments) - wanted).abs().max())


def changed(made: Batch, **parts: Any) -> dict[str, Any]:
    return replace(made, layout=replace(made.layout, **parts, kept={})).arguments()


def test_without_a_mistake_nothing_is_wrong(
    loaded: Loaded, made: Batch, wanted: torch.Tensor
) -> None:
    assert error(loaded, wanted, made.arguments()) < EXACT


# --- those of the design notes ---------------------------------------------------------------


def test_positions_that_run_on_from_branch_to_branch_are_seen(
    loaded: Loaded, made: Batch, wanted: torch.Tensor
) -> None:
    running = torch.arange(made.position_ids.shape[1])[None]
    assert error(loaded, wanted, replace(made, position_ids=running).arguments()) > WRONG


def test_restarting_positions_without_a_mask_hide_the_prompt(
    loaded: Loaded, made: Batch, wanted: torch.Tensor
) -> None:
    """transformers takes them for packed documents. Our attention refuses to be part of it."""
    bare = made.arguments() | {"attention_mask": None}
    with pytest.raises(ValueError, match="pass the arguments that `forward` makes"):
        prefix.score(loaded.model, bare)
    loaded.model.set_attn_implementation("sdpa")
    assert error(loaded, wanted, bare) > WRONG


def test_a_first_token_predicted_from_the_branch_before_is_seen(
    loaded: Loaded, made: Batch, wanted: torch.Tensor
) -> None:
    layout = made.layout
    places = torch.cat([torch.arange(span.prompt_stop, span.stop) for span in layout.spans])
    assert len(places) == len(layout.targets)  # all is learned
    assert error(loaded, wanted, changed(made, sources=places - 1)) > WRONG


def test_two_passes_cannot_be_made_where_layers_are_recomputed(loaded: Loaded, made: Batch) -> None:
    """Checkpointing drops the prompt's keys without a word; and ours take none from elsewhere."""
    prompt = torch.tensor([[10, 11, 12]])
    keys = loaded.model(input_ids=prompt, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="keys of a cache came along"):
        loaded.model(**made.arguments() | {"past_key_values": keys})
    loaded.model.train().activation_checkpointing_enable({"use_reentrant": False})
    assert not loaded.model(input_ids=prompt, use_cache=True).past_key_values


def test_an_attention_without_a_mask_function_is_seen(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two passes over a prompt's cache: the second looks at the wrong keys without a mask."""
    ids = torch.tensor([list(range(70, 90))])

    def in_two_passes() -> torch.Tensor:
        first = loaded.model(input_ids=ids[:, :12], use_cache=True)
        rest = loaded.model(input_ids=ids[:, 12:], past_key_values=first.past_key_values)
        return rest.logits.log_softmax(-1)

    with torch.no_grad():
        whole = loaded.model(input_ids=ids, use_cache=False).logits[:, 12:].log_softmax(-1)
        assert (in_two_passes() - whole).abs().max() < EXACT
        monkeypatch.delitem(AttentionMaskInterface._global_mapping, ATTENTION)
        assert (in_two_passes() - whole).abs().max() > WRONG


@pytest.mark.parametrize("name", [name for name, _ in prefix.KINDS.values()])
def test_each_attention_has_its_mask_function(name: str) -> None:
    assert name in AttentionInterface._global_mapping
    assert name in AttentionMaskInterface._global_mapping


def test_another_attention_at_the_recomputation_is_seen(loaded: Loaded, made: Batch) -> None:
    loaded.model.train().activation_checkpointing_enable({"use_reentrant": False})
    prefix.score(loaded.model, made.arguments()).sum().backward()
    loss = prefix.score(loaded.model, made.arguments()).sum()
    loaded.model.set_attn_implementation("sdpa")
    with pytest.raises((CheckpointError, RuntimeError)):
        loss.backward()


def test_a_prompt_in_common_that_is_assumed_and_not_compared_is_seen(
    loaded: Loaded, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(loaded, f"{word} is it?", (80, 81), (png("red"),)) for word in ("What", "When")]
    wanted = torch.cat(row_logps(loaded.model, loaded, [grouping.alone(r) for r in rows])).detach()

    def found() -> dict[str, Any]:
        return batch(loaded, merge(rows, loaded.template.image_id)).arguments()

    assert error(loaded, wanted, found()) < EXACT
    monkeypatch.setattr(grouping, "_num_shared", lambda a, b: min(len(a), len(b)))
    assert error(loaded, wanted, found()) > WRONG


# --- isolation -------------------------------------------------------------------------------


def test_groups_that_see_each_other_are_seen(
    student_folder: Path, made: Batch, wanted: torch.Tensor
) -> None:
    loaded = checkpoint.load(student_folder, attention=prefix.implementation("eager"))
    assert error(loaded, wanted, made.arguments()) < EXACT
    one = torch.zeros_like(made.layout.groups)
    assert error(loaded, wanted, changed(made, groups=one)) > WRONG


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_branches_that_see_each_other_are_seen(
    kind: str, student_folder: Path, made: Batch, wanted: torch.Tensor
) -> None:
    loaded = checkpoint.load(student_folder, attention=prefix.implementation(kind))
    one = made.layout.branches.clamp(max=1)
    assert error(loaded, wanted, changed(made, branches=one)) > WRONG


# --- what comes along and would make it wrong ------------------------------------------------


def test_dropout_is_refused(loaded: Loaded, made: Batch) -> None:
    """A shared prompt has one draw for all its branches."""
    for module in loaded.model.model.language_model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.1
    prefix.score(loaded.model, made.arguments())  # none is drawn here
    loaded.model.train()
    with pytest.raises(ValueError, match=r"dropout is 0\.1: a shared prompt has one draw for all"):
        prefix.score(loaded.model, made.arguments())


@pytest.mark.parametrize("kind", ["padding", "foreign"])
def test_a_mask_is_refused(kind: str, loaded: Loaded, made: Batch) -> None:
    size = made.layout.input_ids.shape[1]
    mask = torch.ones(1, size, dtype=torch.long)
    if kind == "padding":
        mask[0, :2] = 0
    else:
        mask = made.layout.dense()
    with pytest.raises(ValueError, match="no mask of your own"):
        prefix.score(loaded.model, made.arguments() | {"attention_mask": mask})


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_attentions_of_transformers_raise_rather_than_ignore_the_layout(
    kind: str, loaded: Loaded, made: Batch
) -> None:
    loaded.model.set_attn_implementation(kind)
    with pytest.raises(RuntimeError, match="size"):
        prefix.score(loaded.model, made.arguments())


def test_several_rows_are_refused(loaded: Loaded, made: Batch) -> None:
    given = made.arguments()
    twice = {name: given[name].expand(2, -1) for name in ("input_ids", "position_ids")}
    text = {"attention_mask": given["attention_mask"], "layout": given["layout"]}
    with pytest.raises(ValueError, match="is not the layout's one row"):
        loaded.model(**twice, **text, use_cache=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"softcap": 30.0}, "uses softcap"),
        ({"s_aux": torch.zeros(2)}, "uses s_aux"),
        ({"sliding_window": 4}, "sees 4 tokens at once and a sequence has 5"),
        ({"sliding_window": 5}, None),
        ({"softcap": None, "sliding_window": None}, None),
    ],
)
def test_an_architecture_with_other_scores_is_refused(
    change: dict[str, Any], message: str | None
) -> None:
    branches = [prefix.Branch((3,) * n, (3,) * n) for n in (2, 1)]
    layout = prefix.lay_out([Group((1, 2, 3), tuple(branches))])
    states = torch.randn(1, 2, 6, 4)
    given = prefix.forward(layout, layout.positions[0])
    run = AttentionInterface()[ATTENTION]

    def attend() -> None:
        mask = given["attention_mask"]
        run(torch.nn.Module(), states, states, states, mask, layout=layout, **change)

    if message is None:
        attend()
    else:
        with pytest.raises(ValueError, match=message):
            attend()


# --- pictures --------------------------------------------------------------------------------


def test_an_empty_dictionary_of_pictures_does_not_leak_the_first_into_the_next(
    loaded: Loaded, png: Png
) -> None:
    """transformers writes into the one that it is given."""
    red, blue = (batch(loaded, [group(loaded, "?", 2, (png(c),))]) for c in ("red", "blue"))
    with torch.no_grad():
        wanted = prefix.score(loaded.model, blue.arguments())
    kept: dict[str, Any] = {}

    def passed(made: Batch) -> dict[str, Any]:
        return made.arguments() | {"mm_encoder_outputs": kept}

    with torch.no_grad():
        with pytest.raises(ValueError, match="both pixel_values and mm_encoder_outputs"):
            prefix.score(loaded.model, passed(red))
        prefix.score(loaded.model, red.arguments(kept))
    assert kept == {}
    assert "mm_encoder_outputs" not in blue.arguments({})
    encoded = loaded.family.encode(loaded.model, blue.pictures)
    assert blue.arguments(encoded)["mm_encoder_outputs"] is not encoded
    assert error(loaded, wanted, blue.arguments(encoded)) < EXACT
    leaked = loaded.family.encode(loaded.model, red.pictures)
    assert error(loaded, wanted, blue.arguments(leaked)) > WRONG
