"""Choosing among answers: against a search through all subsets, and ties by hand."""

import math
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsight.analysis import voting
from chainsight.analysis.voting import METHODS, Scale, elected, value, values
from chainsight.records import Verified


def answer(index, vote="", score=0.0, rewards=(0.0,), policy=-1.0, pieces=None):
    pieces = pieces or tuple("word " for _ in rewards)
    return Verified(
        "toy/test/1", index, "".join(pieces), vote, "marker", score, len(rewards),
        policy + math.fsum(rewards), policy, pieces, tuple(rewards), vote,
    )  # fmt: skip


def question(*samples, greedy=1.0):
    return [answer(-1, "7", greedy), *(answer(k, *one) for k, one in enumerate(samples))]


samples = st.lists(
    st.tuples(
        st.sampled_from(["", "7", "8", "9"]),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=6,
)


def plain(method, own, scale):
    """The mean score of what a method takes of just these answers, written down directly."""
    votes = {
        "majority": lambda one: 1.0,
        "weighted": lambda one: math.exp(scale.beta * sum(one.rewards)),
        "weighted_ratio": lambda one: math.exp(sum(one.rewards)),
        "weighted_sum": lambda one: sum(one.rewards),
    }
    keys = {
        "best": lambda one: sum(one.rewards),
        "best_normalised": lambda one: sum(one.rewards) / len(one.rewards),
        "best_truncated": lambda one: sum(one.rewards[: scale.max_words]),
        "random": lambda one: 0,
        "longest": lambda one: len(one.rewards),
        "shortest": lambda one: -len(one.rewards),
        "likeliest": lambda one: one.logprob_aligned,
        "oracle": lambda one: one.score,
    }
    answered = [one for one in own if one.vote] or own
    if method == "single":
        taken = [[one] for one in own]
    elif method in votes and answered[0].vote:
        groups = [[one for one in answered if one.vote == v] for v in {a.vote for a in answered}]
        sums = [sum(map(votes[method], group)) for group in groups]
        most = max(sums)
        taken = [g for g, s in zip(groups, sums, strict=True) if abs(s - most) < 1e-9]
    elif method in votes:
        taken = [answered]
    else:
        most = max(map(keys[method], answered))
        taken = [[one for one in answered if abs(keys[method](one) - most) < 1e-12]]
    means = [sum(one.score for one in group) / len(group) for group in taken]
    return sum(means) / len(means)


@given(samples)
def test_every_method_agrees_with_a_search_through_all_subsets(drawn):
    asked, scale = question(*drawn), Scale(beta=0.3, max_words=2)
    own = voting.samples(asked)
    for method, n in product(METHODS[1:], range(1, len(own) + 1)):
        subsets = list(combinations(own, n))  # at most 20: votes are held in all of them
        wanted = sum(plain(method, subset, scale) for subset in subsets) / len(subsets)
        assert values(method, asked, [n], scale) == [pytest.approx(wanted)], method
        first = plain(method, own[:n], scale)
        assert value(method, asked, n, scale) == pytest.approx(first), method


def test_one_sample_leaves_no_choice():
    asked = question(("7", 1.0, (3.0,)), ("", 0.0, (9.0,)), ("8", 0.0, (1.0,)))
    found = {method: values(method, asked, [1])[0] for method in METHODS[1:]}
    assert found == pytest.approx(dict.fromkeys(found, 1 / 3))


def test_the_reward_chooses_and_a_tie_is_split_evenly():
    asked = question(("7", 1.0, (2.0,)), ("8", 0.0, (2.0,)), ("9", 0.0, (-1.0,)))
    assert value("best", asked, 3) == 0.5
    assert value("best", asked, 1) == 1.0
    assert value("oracle", asked, 3) == 1.0
    assert value("greedy", asked, 3) == 1.0


def test_an_answer_that_cannot_be_read_neither_votes_nor_is_chosen():
    asked = question(("", 0.0, (9.0,)), ("", 0.0, (9.0,)), ("7", 1.0, (-5.0,)))
    for method in ("majority", "weighted", "best", "random", "longest"):
        assert value(method, asked, 3) == 1.0, method
    assert value("single", asked, 3) == pytest.approx(1 / 3)
    assert value("majority", asked, 2) == value("best", asked, 2) == 0.0


def test_weights_can_overrule_the_majority_and_a_tie_of_parties_is_split():
    asked = question(("7", 1.0, (4.0,)), ("8", 0.0, (-4.0,)), ("8", 0.0, (-4.0,)))
    assert value("majority", asked, 3) == 0.0
    assert value("weighted", asked, 3, Scale(beta=0.1)) == 1.0  # 1 against 2 exp(-0.8) = 0.90
    assert value("weighted", asked, 3, Scale(beta=0.05)) == 0.0  # against 2 exp(-0.4) = 1.34
    assert value("majority", asked, 2) == 0.5


def test_a_great_reward_does_not_overflow():
    asked = question(("7", 1.0, (5000.0,)), ("8", 0.0, (-5000.0,)))
    assert value("weighted_ratio", asked, 2) == 1.0


def test_parties_hold_answers_of_different_scores():
    """14 and 14.0 vote alike, though an exact metric takes only one of them."""
    assert elected([("14", 1, 1.0), ("14", 1, 0.0), ("9", 1, 0.0)]) == 0.5


def test_the_truncated_reward_ends_with_the_word():
    one = answer(0, rewards=(1, 2, 4, 8, 16), pieces=(" The", " cat", "tle", " sat", " down"))
    assert [voting.truncated_reward(one, k) for k in (1, 2, 3, 90)] == [1, 7, 15, 31]


def test_more_samples_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"toy/test/1: 3 of 2 samples; n is 1 to 2"):
        values("best", question(("7", 1.0), ("8", 0.0)), [3])


def test_votes_of_many_samples_are_averaged_over_the_same_drawn_subsets():
    asked = question(*(("7" if k % 3 else "8", float(k % 3 > 0), (0.1 * k,)) for k in range(16)))
    drawn = list(voting.subsets(voting.samples(asked), 8))
    assert len(drawn) == voting.SUBSETS
    assert drawn == list(voting.subsets(voting.samples(asked), 8))
    assert all(len(set(own)) == 8 for own in drawn)
    assert values("majority", asked, [16]) == [1.0]
