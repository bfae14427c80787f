"""Batches made ahead: in order, one at a time, and no further than one."""

import threading

import pytest

from chainsight.training.feed import ahead, numbered, only


def test_the_next_one_is_made_while_the_last_one_is_used():
    made, go_on = [], threading.Event()

    def make(item):
        made.append((item, threading.current_thread().name))
        if item == 1:
            go_on.set()
        return 10 * item

    found = ahead(make, range(5))
    assert next(found) == 0
    assert go_on.wait(10)  # nobody asked for it yet
    assert [item for item, _ in made] == [0, 1]
    assert list(found) == [10, 20, 30, 40]
    assert threading.current_thread().name not in {name for _, name in made}


def test_an_error_comes_when_its_item_is_due():
    found = ahead(lambda item: 1 // item, [1, 0])
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_a_batch_of_the_trainers_is_a_steps_number():
    steps = numbered([((0, 1),), ((2,),)])
    assert [only([item]) for item in steps] == [0, 1]
