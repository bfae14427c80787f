"""The cache that keeps a prompt once, against attention over everything a row sees."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from chainsight.vlm import decoding
from chainsight.vlm.decoding import Captured, Shared, attend, joined

HEADS, SHARED, SIZE, LAYERS = 2, 3, 8, 2
DRAW = torch.Generator().manual_seed(0)


def states(*shape):
    return torch.randn(*shape, generator=DRAW)


class Plain:
    """What each row sees, copied for each row."""

    def __init__(self):
        self.rows = []

    def join(self, captured, prompt, tails):
        for tail in tails:
            parts = [[s[:, :, prompt], s[:, :, tail]] for s in captured.states]
            self.rows.append([torch.cat(part, 2) for part in parts])

    def write(self, layer, keys, values):
        for row, key, value in zip(self.rows, keys, values, strict=True):
            row[layer] = torch.cat([row[layer], torch.stack([key, value])], 2)

    def attend(self, layer, query):
        found = []
        for row, one in zip(self.rows, query, strict=True):
            keys, values = row[layer].repeat_interleave(SHARED, 1)
            found.append(scaled_dot_product_attention(one.flatten(0, 1)[:, None], keys, values))
        return torch.stack(found).reshape(query.shape)


class Both:
    """The cache and its oracle, given the same."""

    def __init__(self):
        self.cache, self.plain = Shared(), Plain()

    def join(self, size, prompt, tails):
        captured = Captured()
        for layer in range(LAYERS):
            captured.update(states(1, HEADS, size, SIZE), states(1, HEADS, size, SIZE), layer)
        for side in (self.cache, self.plain):
            side.join(captured, prompt, tails)

    def keep(self, rows):
        self.cache.keep(rows)
        self.plain.rows = [self.plain.rows[row] for row in rows]

    def step(self):
        self.cache.extend()
        count = len(self.plain.rows)
        for layer in range(LAYERS):
            keys, values = states(count, HEADS, 1, SIZE), states(count, HEADS, 1, SIZE)
            query = states(count, HEADS, SHARED, SIZE)
            own = self.cache.update(keys, values, layer)
            self.plain.write(layer, keys, values)
            torch.testing.assert_close(
                self.cache.attend(query, own, layer, SIZE**-0.5), self.plain.attend(layer, query)
            )


NONE = slice(0, 0)


def test_rows_see_their_prompt_and_what_they_wrote():
    both = Both()
    both.join(5, slice(0, 5), [NONE] * 3)
    for _ in range(3):
        both.step()


def test_groups_of_different_lengths_join_and_leave_while_others_go_on():
    both = Both()
    both.join(12, slice(2, 7), [NONE] * 2)
    both.step()
    both.join(9, slice(0, 6), [slice(6, 9), slice(6, 9), slice(7, 8)])
    both.step()
    both.keep([1, 2, 4])
    both.step()
    both.keep([2])
    assert both.cache.sizes == [6]
    both.join(40, slice(0, 1), [slice(1, 40)])
    both.step()
    both.keep([])
    both.join(3, slice(0, 3), [NONE])
    both.step()


def test_rooms_grow_when_they_are_full():
    both = Both()
    both.join(4, slice(0, 4), [NONE, NONE])
    for _ in range(2 * decoding.ROOM + 2):
        both.step()
    assert both.cache.rooms[0].shape[3] == 4 * decoding.ROOM


def test_a_prompt_is_kept_once_however_many_rows_it_has():
    sizes = []
    for count in (1, 32):
        cache, captured = Shared(), Captured()
        captured.update(states(1, HEADS, 500, SIZE), states(1, HEADS, 500, SIZE), 0)
        cache.join(captured, slice(0, 500), [NONE] * count)
        sizes.append(cache.num_bytes)
    token = 2 * HEADS * SIZE * 4
    assert sizes == [token * (500 + count * decoding.ROOM) for count in (1, 32)]


def test_parts_are_joined_exactly_even_if_one_of_them_has_all_the_weight():
    query, keys, values = states(2, 4, SIZE) * 30, states(2, 9, SIZE) * 30, states(2, 9, SIZE)
    parts = [attend(query, keys[:, s], values[:, s], 1.0) for s in (slice(0, 6), slice(6, 9))]
    wanted = scaled_dot_product_attention(query, keys, values, scale=1.0)
    torch.testing.assert_close(joined(*parts), wanted)


def test_layers_must_come_in_order():
    captured = Captured()
    with pytest.raises(AssertionError, match="layer 1 came as number 0"):
        captured.update(states(1, HEADS, 5, SIZE), states(1, HEADS, 5, SIZE), 1)


def test_prompts_of_equal_size_are_read_together_whatever_rows_they_have(monkeypatch):
    monkeypatch.setattr(decoding, "RUN_TOKENS", 18)
    both = Both()
    for size, count in ((6, 1), (6, 3), (6, 2), (6, 4), (6, 7), (5, 1), (6, 1)):
        both.join(size, slice(0, size), [NONE] * count)
    both.step()
    found = decoding.runs(both.cache.sizes, both.cache.counts, torch.device("cpu"))
    assert [len(run.rows) for run in found] == [3, 1, 1, 1, 1]  # up to 18 tokens; 7 rows count 8
    both.keep([0, 2, 5, 9, 11, 18])
    both.step()


def test_groups_that_join_in_one_pass_are_those_that_join_one_by_one():
    captured = Captured()
    captured.update(states(1, HEADS, 12, SIZE), states(1, HEADS, 12, SIZE), 0)
    prompts, tails = [slice(0, 4), slice(6, 9)], [[slice(4, 6), NONE], [slice(9, 12)]]
    together, apart = Shared(), Shared()
    together.join_all(captured, prompts, tails)
    for prompt, own in zip(prompts, tails, strict=True):
        apart.join(captured, prompt, own)
    assert torch.equal(together.prompts[0], apart.prompts[0])
    assert torch.equal(together.rooms[0], apart.rooms[0])
    assert (together.sizes, together.counts) == (apart.sizes, apart.counts)
    assert together.lengths == apart.lengths
