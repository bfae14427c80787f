"""The kinds of attention against each other, on random states."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from plain import group, row_logps, shared_logps

from chainsight.errors import ConfigError
from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.prefix import Branch, Group, Layout, lay_out
from chainsight.vlm.prefix.attention import KINDS, NO_MASK, attention
from chainsight.vlm.prefix.kernels import blocks, dense, packed, split, varlen

EXACT = 2e-6
Heads = tuple[int, int]
"""Of queries and of keys."""


def group_of(prompt: int, *branches: int) -> Group:
    return Group((1,) * prompt, tuple(Branch((2,) * n, (2,) * n) for n in branches))


LAYOUTS = {
    "one branch": [group_of(5, 3)],
    "a pair": [group_of(9, 3, 4)],
    "many": [group_of(8, 1, 2, 3, 4, 3, 2, 1)],
    "longer than the prompt": [group_of(2, 7, 1, 5)],
    "a prompt of one token": [group_of(1, 1, 1)],
    "several groups": [group_of(4, 2, 3), group_of(3, 6), group_of(7, 1, 9, 2), group_of(3)],
}


def states(layout: Layout, heads: Heads) -> list[torch.Tensor]:
    torch.manual_seed(0)
    size = layout.input_ids.shape[1]
    shapes = [(1, num_heads, size, 8) for num_heads in (heads[0], heads[1], heads[1])]
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def unequal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_queries: torch.Tensor,
    cu_keys: torch.Tensor,
    max_queries: int,
    max_keys: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What `torch.nn.attention.varlen.varlen_attn` computes, sequence by sequence: causal, the
    last query on the last key."""
    assert window_size == (-1, 0)
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert cu_queries.dtype == cu_keys.dtype == torch.int32
    found = []
    bounds = zip(_bounds(cu_queries), _bounds(cu_keys), strict=True)
    for (q_start, q_stop), (k_start, k_stop) in bounds:
        rows, columns = q_stop - q_start, k_stop - k_start
        assert rows <= min(columns, max_queries)
        assert columns <= max_keys
        seen = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
        parts = query[q_start:q_stop], key[k_start:k_stop], value[k_start:k_stop]
        found.append(
            torch.nn.functional.scaled_dot_product_attention(
                *(part.transpose(0, 1) for part in parts),
                attn_mask=seen,
                scale=scale,
                enable_gqa=enable_gqa,
            ).transpose(0, 1)
        )
    return torch.cat(found)


def _bounds(ends: torch.Tensor) -> Iterator[tuple[int, int]]:
    return zip(ends.tolist(), ends.tolist()[1:], strict=False)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 2), (3, 1)])
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kernel", [split, partial(varlen, run=unequal)], ids=["split", "varlen"])
def test_each_kernel_is_the_dense_one(kernel: Any, name: str, heads: Heads) -> None:
    layout = lay_out(LAYOUTS[name])
    outcomes = []
    for run in (dense, kernel):
        given = states(layout, heads)
        out = run(torch.nn.Module(), *given, 0.3, layout)
        (out * torch.arange(out.numel()).reshape(out.shape).sin()).sum().backward()
        outcomes.append([out.detach(), *(state.grad for state in given)])
    for wanted, found in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=EXACT)


@pytest.mark.parametrize("name", LAYOUTS)
def test_flex_attention_is_the_dense_one(name: str) -> None:
    """Not compiled here, which computes the same: compiling takes 20 s."""
    layout = lay_out(LAYOUTS[name])
    given = [state.detach() for state in states(layout, (4, 2))]
    with torch.compiler.set_stance("force_eager"):
        found = blocks(torch.nn.Module(), *given, None, layout)
        torch.testing.assert_close(
            found, dense(torch.nn.Module(), *given, None, layout), rtol=0, atol=EXACT
        )


def test_flex_attention_is_refused_where_it_cannot_train() -> None:
    layout = lay_out(LAYOUTS["a pair"])
    with pytest.raises(ValueError, match="no backward pass on a CPU; set model"):
        blocks(torch.nn.Module(), *states(layout, (2, 2)), None, layout)


def test_flash_attention_takes_a_prompt_and_its_first_branch_as_one_sequence() -> None:
    pack = packed(lay_out([group_of(3, 2, 1), group_of(2, 1)]))
    assert pack.cu_queries.tolist() == [0, 5, 6, 9]
    assert pack.cu_keys.tolist() == [0, 5, 9, 12]
    assert pack.keys.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 5, 6, 7, 8]
    assert (pack.max_queries, pack.max_keys) == (5, 5)


def test_flash_attention_is_refused_in_float32() -> None:
    layout = lay_out(LAYOUTS["a pair"])
    with pytest.raises(ValueError, match=r"not compute in torch\.float32; set model.dtype to bf"):
        varlen(torch.nn.Module(), *states(layout, (2, 2)), None, layout)


def test_flash_attention_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="flash_attention_2 needs a GPU; set it to sdpa"):
        prefix.implementation("flash_attention_2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prefix.implementation("flash_attention_2") == KINDS["flash_attention_2"][0]


def test_an_attention_that_cannot_share_prompts_is_refused() -> None:
    with pytest.raises(ConfigError, match="'paged' cannot share prompts; choose from: sdpa, eager"):
        prefix.implementation("paged")


def test_every_setting_of_the_configuration_has_an_attention() -> None:
    from typing import get_args

    from chainsight.config.run import ModelSection

    assert set(get_args(ModelSection.model_fields["attention"].annotation)) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_names_don_t_make_transformers_take_them_for_its_own(kind: str) -> None:
    from transformers.utils.generic import is_flash_attention_requested

    name = KINDS[kind][0]
    assert not is_flash_attention_requested(requested_attention_implementation=name)
    assert "flex" not in name


def test_mixed_precision_is_that_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotary positions leave queries and keys in float32."""
    layout = lay_out(LAYOUTS["a pair"])
    query, key, value = states(layout, (2, 2))
    seen = []

    def kernel(module: Any, *given: Any) -> torch.Tensor:
        seen.extend(state.dtype for state in given[:3])
        return split(module, *given)

    mask = torch.ones(NO_MASK)
    with torch.autocast("cpu", torch.bfloat16):
        module = torch.nn.Module()
        attention(kernel, module, query, key, value.bfloat16(), mask, layout=layout)
    assert seen == [torch.bfloat16] * 3


def test_bunches_stay_shorter_than_half_the_prompt() -> None:
    layout = lay_out([group_of(10, 2, 3, 1, 1, 7, 1)])
    split(torch.nn.Module(), *states(layout, (1, 1)), None, layout)
    [bunches] = layout.kept["bunches"]
    assert [(bunch.start, bunch.stop) for bunch in bunches] == [
        (10, 15),
        (15, 17),
        (17, 24),
        (24, 25),
    ]


@pytest.mark.parametrize("kernel", [split, dense, partial(varlen, run=unequal)])
def test_what_a_scoring_made_serves_a_training(kernel: Any) -> None:
    layout = lay_out(LAYOUTS["a pair"])
    with torch.inference_mode():
        kernel(torch.nn.Module(), *(s.detach() for s in states(layout, (2, 2))), None, layout)
    given = states(layout, (2, 2))
    kernel(torch.nn.Module(), *given, None, layout).sum().backward()
    assert given[0].grad is not None


@pytest.mark.parametrize("kind", ["eager", "flex_attention"])
def test_a_whole_model_by_another_attention_is_that_of_plain_rows(
    kind: str, student_folder: Path, png: Callable[..., bytes]
) -> None:
    loaded = checkpoint.load(student_folder, attention=prefix.implementation(kind))
    groups = [group(loaded, "What?", 3, (png("red"),)), group(loaded, "Who?", 2)]
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        found = torch.cat(shared_logps(loaded.model, loaded, groups))
        wanted = torch.cat(row_logps(loaded.model, loaded, groups))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
