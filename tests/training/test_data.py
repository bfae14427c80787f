"""Rows and pairs as batches: what is shared, what is learned, what a ghost is."""

import pytest

from chainsight.training.data import Maker, PairRow, num_learned, pair_tokens, sharing, tokens
from chainsight.vlm import checkpoint
from chainsight.vlm.prefix import ATTENTION
from chainsight.vlm.template import Prompt, Row


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder, attention=ATTENTION)


@pytest.fixture
def maker(loaded):
    return lambda share="question", pictured=False: Maker(loaded, share, pictured=pictured)


@pytest.fixture
def row(loaded, png):
    def make(text, response, colour="red", key="q/cot"):
        images = (png(colour),) if colour else ()
        return loaded.template.row(Prompt(key, text, images), response)

    return make


def learned(batch):
    layout = batch.layout
    return [layout.targets[layout.owners == n].tolist() for n in range(layout.num_branches)]


def test_rows_share_by_question_by_picture_or_not_at_all(row):
    rows = [
        row("a", (70,), key="x/1/direct"), row("a b", (70,), key="x/1/cot"),
        row("c", (70,), key="x/2/cot"), row("d", (70,), "blue", key="x/3/cot"),
        row("d", (70,), "", key="x/4/direct"), row("d", (70,), "", key="x/4/cot"),
    ]  # fmt: skip
    nothing, question, picture = (
        [sharing(rows, share).index(key) for key in sharing(rows, share)]
        for share in ("nothing", "question", "picture")
    )
    assert nothing == [0, 1, 2, 3, 4, 5]
    assert question == [0, 0, 2, 3, 4, 4]
    assert picture == [0, 0, 0, 3, 4, 4]  # without a picture: by question


def test_rows_of_a_part_are_branches_of_one_prompt(maker, row):
    rows = [row("one", (70, 71)), row("one more", (72,)), row("else", (73,), "blue")]
    batch = maker().rows(rows, ((0, 1), (2,)))
    assert len(batch.layout.spans) == 2
    assert learned(batch) == [[70, 71], [72], [73]]
    apart = maker("nothing").rows(rows, ((0,), (1,), (2,)))
    assert learned(apart) == learned(batch)
    assert apart.layout.input_ids.shape[1] == sum(map(len, rows))
    assert len(batch.pictures["image_sizes"]) == 2


def test_a_response_of_several_pairs_stands_there_once(maker, row):
    a, b, c = (row("a", (n, n + 1)) for n in (70, 80, 90))
    other = row("a", (70, 71), "blue")  # the very ids, of another picture
    pairs = [PairRow(a, b), PairRow(a, c), PairRow(c, b), PairRow(other, other)]
    made = maker().pairs(pairs, ((0, 1, 2), (3,)))
    assert learned(made.batch) == [[70, 71], [80, 81], [90, 91], [70, 71]]
    assert made.chosen.tolist() == [0, 0, 2, 3]
    assert made.rejected.tolist() == [1, 2, 1, 3]
    assert [response.response_ids[0] for response in made.responses] == [70, 80, 90, 70]
    assert made.batch.layout.input_ids.shape[1] == 2 * len(a.prompt_ids) + 4 * 2


def test_plain_pairs_share_nothing(maker, row):
    pair = PairRow(row("a", (70,)), row("a", (71, 72)))
    made = maker("nothing").pairs([pair], ((0,),))
    assert made.batch.layout.input_ids.shape[1] == len(pair.chosen) + len(pair.rejected)
    assert len(made.batch.layout.spans) == 2


def test_a_ghost_is_a_blank_picture_of_which_nothing_is_learned(maker, row):
    batch = maker().rows([row("a", (70,))], ())
    assert (batch.layout.num_branches, len(batch.layout.targets)) == (0, 0)
    assert len(batch.pictures["image_sizes"]) == 1
    made = maker().pairs([], ())
    assert (len(made.chosen), len(made.rejected), made.responses) == (0, 0, ())


def test_among_several_ranks_a_pass_about_text_takes_a_blank_picture_along(maker, row):
    rows = [row("a", (70,), ""), row("b", (71,), "red")]
    assert maker().rows(rows, ((0,),)).pictures == {}
    along = maker(pictured=True).rows(rows, ((0,),))
    assert len(along.pictures["image_sizes"]) == 1
    assert learned(along) == [[70]]
    with_one = maker(pictured=True).rows(rows, ((0,), (1,)))
    assert len(with_one.layout.spans) == 2


def test_lengths_and_counts_come_from_the_rows_alone():
    first, second = Row("q", (1, 2, 3), (4, 5), (), labels=(-100, 5)), Row("q", (1, 2), (6,), ())
    assert [num_learned(row) for row in (first, second)] == [1, 1]
    assert tokens([first, second], (0, 1)) == 3 + 2 + 1
    assert pair_tokens([PairRow(first, second)], (0,)) == 3 + 2 + 1
