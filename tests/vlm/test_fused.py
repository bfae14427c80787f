"""The kernels' indices, with a stand-in for the kernel; the kernel itself where a GPU is."""

import pytest
import torch

from chainsight.vlm import fused
from chainsight.vlm.decoding import Captured, Shared, attend, joined

HEADS, SHARED, SIZE, SCALE = 2, 3, 16, 0.25
DRAW = torch.Generator().manual_seed(1)


def sequences(query, key, value, begins, keys, most, longest, *, scale, seqused_k=None):
    """Each sequence alone; the log-sum-exps are [heads, T], as the kernel's."""
    assert query.shape[1] == 1
    outs, totals = [], []
    for i in range(len(begins) - 1):
        rows, first = slice(begins[i], begins[i + 1]), int(keys[i])
        last = int(keys[i + 1]) if seqused_k is None else first + int(seqused_k[i])
        assert begins[i + 1] - begins[i] <= most
        assert last - first <= longest
        out, total = attend(query[rows, 0], key[first:last, 0], value[first:last, 0], scale)
        outs.append(out)
        totals.append(total)
    return torch.cat(outs)[:, None], torch.cat(totals).T


def cached(device="cpu", dtype=torch.float32):
    """Three groups of unlike size, their rows some steps apart."""
    cache, rows = Shared(), 0
    for size, count in ((7, 2), (40, 1), (11, 4)):
        captured = Captured()
        shape = (1, HEADS, size, SIZE)
        captured.update(*(torch.randn(2, *shape, generator=DRAW).to(device, dtype)), 0)
        cache.join(captured, slice(0, size - 1), [slice(size - 1, size)] * count)
        rows += count
        cache.extend()
        written = torch.randn(2, rows, HEADS, 1, SIZE, generator=DRAW).to(device, dtype)
        own = cache.update(*written, 0)
    query = torch.randn(rows, HEADS, SHARED, SIZE, generator=DRAW).to(device, dtype)
    return cache, query, own


def test_sequences_are_where_the_plan_says():
    cache, query, own = cached()
    made = fused.parts(
        query, cache.prompts[0], cache.rooms[0], cache._planned(query), SCALE, run=sequences
    )
    wanted = cache._to_prompts(query, 0, SCALE), attend(query, *own, SCALE, cache._mask)
    for part, other in zip(made, wanted, strict=True):
        torch.testing.assert_close(part, other)


def test_the_kernel_takes_what_it_is_given_and_gives_the_shapes_that_are_read():
    cache, query, _ = cached("meta", torch.bfloat16)
    parts = fused.parts(query, cache.prompts[0], cache.rooms[0], cache._planned(query), SCALE)
    for out, total in parts:
        assert out.shape == query.shape
        assert total.shape == (*query.shape[:3], 1)


def test_a_cpu_and_float32_do_without():
    assert not fused.usable(torch.zeros(1, dtype=torch.bfloat16))
    assert fused._has_kernel()  # of the torch that the images have


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernel_gives_what_float32_gives():
    cache, query, own = cached("cuda", torch.bfloat16)
    assert fused.usable(query)
    found = cache.attend(query, own, 0, SCALE)
    parts = cache._to_prompts(query, 0, SCALE), attend(query, *own, SCALE, cache._mask)
    torch.testing.assert_close(found.float(), joined(*parts), atol=2e-2, rtol=2e-2)
