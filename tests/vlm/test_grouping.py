"""Rows to groups, and groups to a model's arguments."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import pytest
import torch
from plain import outcome, row, row_logps, shared_logps

from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import alone, batch, merge
from chainsight.vlm.prefix import IGNORED, Branch
from chainsight.vlm.template import Row

EXACT = 1e-5
IMAGE = 5
RED, BLUE = b"red", b"blue"
Png = Callable[..., bytes]


@pytest.fixture
def loaded(student_folder: Path) -> Loaded:
    return checkpoint.load(student_folder, attention=prefix.implementation("sdpa"))


def test_rows_of_one_prompt_share_all_of_it() -> None:
    rows = [Row("a", (1, 5, 7), (8,), (RED,)), Row("b", (1, 5, 7), (9, 4), (RED,))]
    [group] = merge(rows, IMAGE)
    assert group.prompt_ids == (1, 5, 7)
    assert group.branches == (Branch((8,), (8,)), Branch((9, 4), (9, 4)))
    assert group.images == (RED,)


def test_what_only_one_prompt_says_leads_its_branch_unlearned() -> None:
    rows = [Row("a", (1, 5, 7, 2), (8,), (RED,)), Row("b", (1, 5, 7), (9,), (RED,))]
    [group] = merge([*rows, Row("c", (1, 5, 6), (7,), (RED,))], IMAGE)
    assert group.prompt_ids == (1, 5)
    assert group.branches == (
        Branch((7, 2, 8), (IGNORED, IGNORED, 8)),
        Branch((7, 9), (IGNORED, 9)),
        Branch((6, 7), (IGNORED, 7)),
    )


def test_a_rows_own_labels_are_kept() -> None:
    rows = [Row("a", (1, 2), (8, 9), (), (IGNORED, 9)), Row("b", (1, 3), (8,), ())]
    [group] = merge(rows, IMAGE)
    assert group.branches[0] == Branch((2, 8, 9), (IGNORED, IGNORED, 9))


@pytest.mark.parametrize(
    "others",
    [
        Row("other picture", (1, 5, 7), (9,), (BLUE,)),
        Row("one more picture", (1, 5, 7, 5), (9,), (RED, BLUE)),
        Row("picture comes later", (1, 7, 5), (9,), (RED,)),
        Row("nothing in common", (2, 5, 7), (9,), (RED,)),
        Row("no picture", (1, 7), (9,), ()),
    ],
    ids=lambda row: row.key,
)
def test_rows_that_cannot_share_become_a_group_each(others: Row) -> None:
    rows = [Row("a", (1, 5, 7), (8,), (RED,)), others]
    assert merge(rows, IMAGE) == [alone(row) for row in rows]


def test_a_single_row_is_a_group_of_one_branch() -> None:
    only = Row("a", (1, 5, 7), (8,), (RED,))
    assert merge([only], IMAGE) == [alone(only)]


def test_merging_compares_arrays_too() -> None:
    rows = [Row("a", np.array(ids), (8,), ()) for ids in ((1, 2, 3), (1, 2, 4))]  # type: ignore[arg-type]
    [group] = merge(rows, IMAGE)
    assert list(group.prompt_ids) == [1, 2]


class Files(Sequence[bytes]):
    """Pictures that are read when asked for."""

    def __init__(self, *names: str) -> None:
        self.names, self.num_reads = names, 0

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[bytes]:
        self.num_reads += 1
        return iter(name.encode() for name in self.names)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        return list(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Files) and self.names == other.names

    __hash__ = None  # type: ignore[assignment]


def test_pictures_that_say_they_are_the_same_are_not_read() -> None:
    first, other = Files("x", "y"), Files("x", "y")
    prompts: list[Row] = [Row(str(n), (1, 5, 5), (8,), f) for n, f in enumerate((first, other))]  # type: ignore[arg-type]
    assert len(merge(prompts, IMAGE)) == 1
    assert (first.num_reads, other.num_reads) == (0, 0)


def test_merged_prompts_of_one_picture_are_those_of_plain_rows(loaded: Loaded, png: Png) -> None:
    """Direct and reasoned prompts, and several questions."""
    texts = ["What is it? Be short.", "What is it? Reason first.", "Who?", "What"]
    rows = [row(loaded, text, (80 + n, 90), (png("red"),)) for n, text in enumerate(texts)]
    groups = merge(rows, loaded.template.image_id)
    assert len(groups) == 1
    assert len(groups[0]) < sum(map(len, rows)) / 2
    plain = [alone(row) for row in rows]
    found = outcome(loaded.model, lambda: shared_logps(loaded.model, loaded, groups))
    wanted = outcome(loaded.model, lambda: row_logps(loaded.model, loaded, plain))
    for a, b in zip(found, wanted, strict=True):
        assert float((a - b).norm() / b.norm()) < EXACT


def test_a_batch_moves_whole(loaded: Loaded, png: Png) -> None:
    made = batch(loaded, [alone(row(loaded, "a", (80,), (png("red"),)))]).to(torch.device("meta"))
    tensors = [made.position_ids, made.layout.input_ids, *made.pictures.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
