"""Units, steps and forward passes: every row once, nothing cut without need, even loads."""

from collections import Counter

import pytest

from chainsight.training.plan import MAX_ROWS, deal, steps, units

KEYS = [f"q{n // 3}" for n in range(30)]  # ten questions of three rows


def laid(drawn=None, **changes):
    options = {"seed": 0, "epochs": 1.0, "batch_size": 8, "max_steps": None} | changes
    return steps(units(KEYS) if drawn is None else drawn, **options)


def rows_of(step):
    return [row for part in step for row in part]


def test_rows_of_one_key_are_a_unit_wherever_they_stand():
    assert units(["a", "b", "a", "c", "a"]) == [(0, 2, 4), (1,), (3,)]


def test_a_unit_has_a_bound_so_that_a_step_is_not_one_pictures():
    sizes = [len(unit) for unit in units(["a"] * (2 * MAX_ROWS + 3))]
    assert sizes == [MAX_ROWS, MAX_ROWS, 3]


def test_a_unit_has_a_bound_of_tokens_so_that_long_conversations_fit_the_gpu():
    lengths = [3, 3, 3, 9, 1, 1]
    made = units(["a"] * 6, lambda unit: 2 + sum(lengths[n] for n in unit), limit=9)
    assert made == [(0, 1), (2,), (3,), (4, 5)]


def test_an_epoch_holds_each_row_once_in_steps_of_exactly_the_batch_size():
    made = laid()
    assert [len(rows_of(step)) for step in made] == [8, 8, 8, 6]
    assert sorted(row for step in made for row in rows_of(step)) == list(range(30))
    assert made == laid()
    assert made != laid(seed=1)


def test_only_a_steps_border_cuts_a_unit():
    parts = [part for step in laid() for part in step]
    assert sum(len(part) < 3 for part in parts) == 4  # at rows 8 and 16; 24 is a border anyway
    assert all(len({KEYS[row] for row in part}) == 1 for part in parts)


def test_epochs_differ_and_a_part_of_one_is_its_beginning():
    two = [row for step in laid(epochs=2, batch_size=5) for row in rows_of(step)]
    assert Counter(two) == Counter(dict.fromkeys(range(30), 2))
    assert two[:30] == [row for step in laid(batch_size=5) for row in rows_of(step)]
    assert two[:30] != two[30:]
    assert [r for step in laid(epochs=0.5, batch_size=5) for r in rows_of(step)] == two[:15]
    assert [r for step in laid(epochs=0.01) for r in rows_of(step)] == two[:1]


def test_max_steps_bounds_the_steps_and_never_adds_any():
    assert laid(max_steps=2) == laid()[:2]
    assert laid(max_steps=99) == laid()


def length(part):
    return 100 + sum(10 * (row % 7) for row in part)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 4, 32])
def test_a_step_is_dealt_whole_and_each_rank_runs_as_many_passes(num_ranks, size):
    parts = [(0, 1, 2), (3,), (4, 5), (6, 7, 8), (9, 10), (11,)]
    forwards = deal(parts, length, size=size, num_ranks=num_ranks)
    assert len(forwards) % num_ranks == 0
    assert sorted(part for forward in forwards for part in forward) == sorted(parts)
    ghosts = [forward for forward in forwards if not forward]
    assert forwards[len(forwards) - len(ghosts) :] == ghosts  # in the last round alone
    assert len(ghosts) < num_ranks
    assert len(forwards) - len(ghosts) <= -(-12 // size // num_ranks) * num_ranks


def test_passes_are_even_in_tokens_and_the_longest_come_first():
    parts = [(n,) for n in range(32)]
    tokens = {part: 1 << (part[0] % 5) for part in parts}
    loads = [
        sum(map(tokens.get, forward)) for forward in deal(parts, tokens.get, size=4, num_ranks=2)
    ]
    assert len(loads) == 8
    assert loads == sorted(loads, reverse=True)
    assert max(loads) - min(loads) <= 2  # rows in the order drawn: 12 apart


def test_ranks_are_all_at_work_before_any_has_a_second_pass():
    parts = [(n,) for n in range(8)]
    assert [len(forward) for forward in deal(parts, length, size=4, num_ranks=8)] == [1] * 8


def test_more_ranks_than_units_leave_ghosts():
    assert deal([(0, 1), (2,)], len, size=1, num_ranks=4) == [((0, 1),), ((2,),), (), ()]
