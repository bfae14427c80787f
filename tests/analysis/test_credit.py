"""Suspects, chance and rates, by numbers; the toy benchmark on chains with planted rewards."""

import itertools
import math
import random
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from chainsight.analysis import credit, steps
from chainsight.analysis.credit import MAIN, RIGHT, WRONG, known
from chainsight.analysis.steps import Token, Try
from chainsight.demo import bars
from chainsight.demo.steps import first_slip
from chainsight.errors import RecordError
from chainsight.prompts import MARKER
from chainsight.records import Example, Verified

CHARTS = list(itertools.islice(bars.charts(3, "test"), 30))
EXAMPLES = {
    f"bars/{i}/{j}": Example(
        f"bars/{i}/{j}", "bars", "test", q.text, (q.answer,), "exact_match", (chart.image,),
        meta={"kind": q.kind},
    )
    for i, chart in enumerate(CHARTS)
    for j, q in enumerate(chart.questions)
}  # fmt: skip


def said(example_id: str, text: str, score: float = 0.0, index: int = 0) -> Verified:
    """An answer in pieces as the demo's tokenizer cuts them, without any reward."""
    pieces = (*re.findall(r"\s*(?:\w+|#+|[^\w\s]\n*)", text), "")
    nothing = (0.0,) * len(pieces)
    return Verified(
        example_id, index, text, "", "marker", score, len(pieces), 0.0, 0.0, pieces, nothing,
        logprobs=nothing,
    )  # fmt: skip


def blamed(answer: Verified, at: int, reward: float = -1.0) -> Verified:
    rewards = [*answer.rewards]
    rewards[at] = reward
    return replace(answer, rewards=tuple(rewards))


def chain(*rewards: float) -> list[Token]:
    return [Token((at, at + 1), reward, -abs(reward)) for at, reward in enumerate(rewards)]


def spans(found: list[Token]) -> list[int]:
    return [token.span[0] for token in found]


# --- tokens ----------------------------------------------------------------------------------


def test_tokens_have_their_place_in_the_text_and_what_the_policy_expected() -> None:
    one = replace(said("a", "jan 3."), rewards=(0.5, -1.0, 0.0, 0.0), logprobs=(-1.0, -3.0, 0, 0))
    end = [Token((5, 6), 0.0, 0.0), Token((6, 6), 0.0, 0.0)]
    assert steps.tokens(one) == [Token((0, 3), 0.5, -1.5), Token((3, 5), -1.0, -2.0), *end]


def test_space_at_the_beginning_that_is_no_more_in_the_text_shifts_no_token() -> None:
    one = replace(said("a", "jan 3"), pieces=(" jan", " 3", ""), rewards=(0, 0, 0), logprobs=())
    assert [token.span for token in steps.tokens(one)] == [(-1, 3), (3, 5), (5, 5)]
    assert math.isnan(steps.tokens(one)[0].expected)


def test_an_empty_answer_has_its_end_alone() -> None:
    assert [token.span for token in steps.tokens(said("a", ""))] == [(0, 0)]


def test_pieces_of_another_text_are_refused() -> None:
    with pytest.raises(RecordError, match="a, answer 0: its pieces are not its text"):
        steps.tokens(replace(said("a", "jan 3"), text="feb 3"))


@pytest.mark.parametrize(
    ("span", "within"), [((3, 5), True), ((4, 9), True), ((0, 3), False), ((5, 6), False)]
)
def test_a_token_is_inside_a_span_if_they_share_a_character(span: steps.Span, within: bool) -> None:
    assert steps.inside(Token((3, 5), 0, 0), span) is within
    assert not steps.inside(Token((4, 4), 0, 0), (3, 5))  # the end-of-turn is in no step


# --- suspects --------------------------------------------------------------------------------


def test_the_most_negative_come_first_and_of_equal_ones_the_earlier() -> None:
    assert spans(steps.by_reward(chain(0.5, -1, 0, -2, -1))) == [3, 1, 4, 2, 0]


def test_the_control_takes_what_the_policy_expected_least_whatever_its_reward() -> None:
    assert spans(steps.by_surprise(chain(0.5, -1, 0, 2))) == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("rewards", "first"),
    [
        ((-0.4, -0.5, -1.0), [1]),  # half of the lowest is strong
        ((-0.51, -1.0, -0.6), [0]),
        ((-0.09, -0.05), []),  # less than a tenth of a nat is none
        ((-0.1, -0.05), [0]),
        ((0.3, 2.0), []),
        ((), []),
    ],
)
def test_the_first_strongly_negative_token(rewards: tuple[float, ...], first: list[int]) -> None:
    assert spans(steps.first_strong(chain(*rewards))) == first


def test_uncertain_are_tokens_below_nine_tenths() -> None:
    own = [Token((0, 1), 0, math.log(share)) for share in (0.95, 0.91, 0.89, 0.2)]
    assert steps.uncertain(own) == own[2:]


# --- chance and rates ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "inside", "picked"), [(7, 1, 1), (7, 1, 3), (6, 2, 3), (5, 4, 3), (4, 0, 2), (4, 2, 0)]
)
def test_chance_is_the_share_of_all_picks_that_meet_the_span(
    size: int, inside: int, picked: int
) -> None:
    picks = list(itertools.combinations(range(size), picked))
    met = sum(any(at < inside for at in pick) for pick in picks)
    assert steps.chance(size, inside, picked) == pytest.approx(met / len(picks))


def test_who_suspects_nothing_has_no_chance_and_finds_nothing() -> None:
    tried = steps.search("q", chain(0, 0, 0), (1, 2), steps.first_strong, 1)
    assert tried == Try("q", found=False, chance=0.0)


def test_more_suspects_than_tokens_are_all_tokens() -> None:
    assert steps.search("q", chain(0, -1), (0, 1), steps.by_reward, 3) == Try("q", True, 1.0)


def test_a_rate_is_that_of_all_slips_and_its_ratio_that_of_the_sums() -> None:
    tries = [Try("a", True, 0.1), Try("a", True, 0.2), Try("b", False, 0.1), Try("c", False, 0.1)]
    found = steps.rate(tries)
    assert (found.num_slips, found.num_questions) == (4, 3)
    assert found.found.value == 0.5
    assert found.chance == pytest.approx(0.125)
    assert found.ratio.value == pytest.approx(4)
    assert found.found.low == 0.0
    assert found.found.high == 1.0


def test_the_interval_is_wider_where_the_slips_are_of_few_questions() -> None:
    rng = random.Random(0)
    apart = [Try(str(at), rng.random() < 0.3, 0.1) for at in range(400)]
    alike = [replace(apart[at // 8 * 8], question=str(at // 8)) for at in range(400)]
    wide, narrow = (steps.rate(tries).found for tries in (alike, apart))
    assert 0.07 < narrow.high - narrow.low < 0.11  # 2 x 1.96 x sqrt(.3 x .7 / 400) = 0.09
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_interval_covers_the_true_rate_in_most_worlds() -> None:
    covered = 0
    for world in range(60):
        rng = random.Random(world)
        tries = [Try(str(at), rng.random() < 0.4, 0.1) for at in range(60)]
        ratio = steps.rate(tries).ratio
        covered += ratio.low <= 4 <= ratio.high
    assert covered >= 52  # 57 expected


# --- toy charts ------------------------------------------------------------------------------


def answers(rng: random.Random) -> list[Verified]:
    """To every question a right chain, one with a wrong answer and one that skips to it."""
    found = []
    for i, chart in enumerate(CHARTS):
        for j, question in enumerate(chart.questions):
            text, _ = bars.solve(chart.table, question.text)
            wrong = "20" if question.answer.isdigit() else "none"
            end = f"\n\n{MARKER} {wrong}"
            listing, rest = text.split(".", 1)
            texts = text, rest.join([f"{listing}.", ""]).split("\n")[0] + end, f"{listing}.{end}"
            name = f"bars/{i}/{j}"
            found += [said(name, one, float(one == text), at) for at, one in enumerate(texts)]
    rng.shuffle(found)
    return found


def test_what_is_known_of_answers_is_counted_and_nothing_gets_lost() -> None:
    found = answers(random.Random(0))
    seen = known(EXAMPLES, [*found, said("bars/0/0", "The bars are nice.")])
    assert (len(seen.cases), seen.num_without, seen.num_unreadable) == (240, 120, 1)
    assert seen.num_answers == len(found) + 1
    sizes = {name: len(cases) for name, cases in seen.groups().items()}
    assert sizes == {WRONG: 240, "answer": 120, "leap": 120}


def test_other_questions_are_passed_over_without_a_look_at_their_pictures() -> None:
    class Unread(tuple[bytes, ...]):
        def __getitem__(self, index: object) -> bytes:  # type: ignore[override]
            raise AssertionError("read")

    photo = Example("p", "d", "t", "Who?", ("x",), "exact_match", Unread((b"",)))
    answers = [said("p", "x"), said("nobody's", "x")]
    assert known({"p": photo}, answers).num_answers == 0
    assert credit.credit({"p": photo}, answers) is None


def rates(said: list[Verified]) -> Mapping[tuple[str, str], steps.Rate]:
    found = credit.credit(EXAMPLES, said)
    assert found
    return found.rates


def slip_at(answer: Verified) -> int:
    """The piece that holds the first wrong word."""
    example = EXAMPLES[answer.example_id]
    table = bars.read_table(example.images[0])
    assert table
    slip = first_slip(table, example.question, answer.text)
    own = steps.tokens(answer)
    return next(at for at, token in enumerate(own) if steps.inside(token, slip.word))  # type: ignore[union-attr]


def test_rewards_that_fall_at_the_slip_find_all_of_them_and_random_ones_as_many_as_chance() -> None:
    wrong = [one for one in answers(random.Random(0)) if not one.score]
    told = [blamed(one, slip_at(one)) for one in wrong]
    best = rates(told)[WRONG, MAIN.name]
    assert best.found.value == 1.0
    assert best.ratio.low > 8
    rng = random.Random(1)
    blind = [blamed(one, rng.randrange(len(one.pieces))) for one in wrong for _ in range(4)]
    none = rates(blind)[WRONG, MAIN.name]
    assert none.ratio.low < 1 < none.ratio.high
    assert none.ratio.value == pytest.approx(1, abs=0.3)


def test_among_the_uncertain_the_most_negative_of_the_others_does_not_count() -> None:
    wrong = [one for one in answers(random.Random(0)) if not one.score][:20]
    told = []
    for one in wrong:
        at = slip_at(one)
        logprobs = [-2.0 if place in (0, at) else -0.01 for place in range(len(one.pieces))]
        logprobs[1] -= 5.0  # what DPO has lowered most the policy had been sure of
        both = blamed(blamed(one, at), 1, reward=-5.0)
        told.append(replace(both, logprobs=tuple(logprobs)))
    found = rates(told)
    assert found[WRONG, MAIN.name].found.value == 0.0
    among = found[WRONG, credit.AMONG_UNCERTAIN.name]
    assert among.found.value == 1.0
    assert among.chance == pytest.approx(0.5)


def test_chains_that_end_right_in_spite_of_a_slip_stand_apart() -> None:
    wrong = [replace(one, score=1.0) for one in answers(random.Random(0)) if not one.score]
    assert {group for group, _ in rates(wrong)} == {RIGHT}


def test_without_the_policys_log_probabilities_there_are_no_controls() -> None:
    wrong = [one for one in answers(random.Random(0)) if not one.score][:20]
    bare = [replace(one, logprobs=()) for one in wrong]
    all_names, names = ({name for _, name in rates(one)} for one in (wrong, bare))
    assert all_names - names == {one.name for one in credit.CONTROLS}
