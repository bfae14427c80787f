"""Decoding: equal to the library's where it must be, independent of the batch everywhere."""

from itertools import pairwise

import pytest
import torch
from transformers import LogitsProcessor

from chainsight.vlm import checkpoint, sampling
from chainsight.vlm.families.llava import LLAVA
from chainsight.vlm.likelihood import logprobs
from chainsight.vlm.sampling import Drawing, choose, continue_rows, generate, stream
from chainsight.vlm.template import Prompt
from tests.vlm.plain import inputs


@pytest.fixture(scope="module")
def student(student_folder):
    return checkpoint.load(student_folder)


@pytest.fixture(scope="module")
def prompts(png):
    return [
        Prompt("a", "How many?", (png("red", (32, 32)),)),
        Prompt("b", "What colour has the longest bar of all the bars?", (png("blue", (64, 20)),)),
        Prompt("c", "Hm", (png("green", (16, 80)),)),
    ]


def plain(student, prompt, count):
    """Greedy tokens by full forwards, one prompt alone, no cache and no padding."""
    row = student.template.row(prompt)
    batch = inputs(student, row)
    ids, total = [], 0.0
    for _ in range(count):
        with torch.no_grad():
            logits = student.model(**batch).logits[0, -1]
        token = int(logits.argmax())
        total += float(logits.log_softmax(-1)[token])
        ids.append(token)
        batch["input_ids"] = torch.cat([batch["input_ids"], torch.tensor([[token]])], 1)
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        if token in student.end_ids:
            break
    return ids, total


def test_greedy_equals_full_forwards_without_cache_or_padding(student, prompts):
    together = generate(student, prompts, max_new_tokens=12)
    for prompt, (answer,) in zip(prompts, together, strict=True):
        ids, total = plain(student, prompt, 12)
        said = [i for i in ids if i not in student.end_ids]
        assert answer.text == student.template.tokenizer.decode(said, skip_special_tokens=True)
        assert answer.num_tokens == len(ids)
        assert answer.tokens == tuple(ids)
        (scored,) = logprobs(student, student.template.row(prompt), [answer.tokens])
        assert scored == pytest.approx(total, abs=1e-4)
        assert answer.truncated == (len(said) == len(ids))


def texts(answers):
    return [[answer.text for answer in row] for row in answers]


def test_greedy_and_sampled_answers_do_not_depend_on_the_batch(student, prompts):
    for options in ({}, {"temperature": 1.0, "num_candidates": 5, "seed": 3}):
        together = generate(student, prompts, max_new_tokens=24, **options)
        alone = [generate(student, [p], max_new_tokens=24, **options)[0] for p in prompts]
        backwards = generate(student, prompts[::-1], max_new_tokens=24, **options)[::-1]
        assert texts(together) == texts(alone) == texts(backwards)


def test_candidates_differ_and_a_larger_number_begins_with_the_same_ones(student, prompts):
    few = generate(student, prompts, max_new_tokens=8, temperature=1.0, num_candidates=3)
    many = generate(student, prompts, max_new_tokens=8, temperature=1.0, num_candidates=6)
    other = generate(student, prompts, max_new_tokens=8, temperature=1.0, num_candidates=3, seed=1)
    assert texts(few) == [row[:3] for row in texts(many)]
    assert len(set(texts(many)[0])) > 1
    assert texts(few) != texts(other)


def test_an_answer_without_end_of_turn_is_truncated_and_one_with_it_is_not(student, prompts):
    answers = generate(student, prompts, max_new_tokens=200, temperature=2.0, num_candidates=16)
    flat = [answer for row in answers for answer in row]
    assert {a.truncated for a in flat} == {True, False}
    alone = generate(student, prompts[1:2], max_new_tokens=200, temperature=2.0, num_candidates=16)
    assert texts(alone)[0] == texts(answers)[1]  # though rows that end early leave the batch
    assert all(a.num_tokens == 200 for a in flat if a.truncated)
    assert all("<|eot|>" not in a.text for a in flat)


class Forced(LogitsProcessor):
    """Our draws, in the library's own loop."""

    def __init__(self, key, size, count, length):
        self.length = length
        drawn = [sampling._uniforms(3, key, k, count) for k in range(size)]
        self.uniforms = torch.stack(drawn)

    def __call__(self, input_ids, scores):
        step = input_ids.shape[1] - self.length
        tokens = choose(scores.float(), self.uniforms[:, step], 1.0, 0.9)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def test_the_librarys_generate_gives_the_same_tokens_with_the_same_draws(student, prompts):
    options = {"max_new_tokens": 40, "temperature": 1.0, "top_p": 0.9, "num_candidates": 4}
    ours = generate(student, prompts, seed=3, **options)
    for prompt, said in zip(prompts, ours, strict=True):
        batch = inputs(student, student.template.row(prompt))
        length = batch["input_ids"].shape[1]
        theirs = student.model.generate(
            **batch, do_sample=True, top_k=0, num_return_sequences=4, max_new_tokens=40,
            eos_token_id=list(student.end_ids), pad_token_id=0,
            suppress_tokens=[student.template.image_id],
            logits_processor=[Forced(prompt.key, 4, 40, length)],
        )  # fmt: skip
        for row, answer in zip(theirs[:, length:].tolist(), said, strict=True):
            assert row[: answer.num_tokens] == list(answer.tokens)


class Counting:
    """Counts what the parts of a model are given: tokens a pass, tiles."""

    def __init__(self, student):
        self.passes, self.tiles = [], 0
        stack, tower = student.model.model.language_model, student.model.model.vision_tower
        self.hooks = [
            stack.register_forward_pre_hook(self.stack, with_kwargs=True),
            tower.register_forward_pre_hook(self.tower),
        ]

    def stack(self, _, given, options):
        self.passes.append(options["inputs_embeds"].shape[:2].numel())

    def tower(self, _, given):
        self.tiles += len(given[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def test_a_prompt_and_its_tiles_are_computed_once_for_32_candidates(student, prompts):
    row = student.template.row(prompts[1])
    tiles = len(student.template.pictures(row.images[0], "")["pixel_values"])
    with Counting(student) as counted:
        (said,) = generate(
            student, prompts[1:2], max_new_tokens=30, temperature=1.0, num_candidates=32
        )
    assert counted.tiles == tiles
    assert counted.passes[0] == len(row.prompt_ids)
    steps = counted.passes[1:]
    assert len(steps) == max(one.num_tokens for one in said) - 1  # the last token is not read
    written = sum(one.num_tokens - 1 for one in said)
    assert written <= sum(steps) <= written / sampling.SHRINK_BELOW + 32
    assert all(later <= before for before, later in pairwise(steps))  # those that ended are dropped


def test_questions_on_one_picture_share_it(student, png):
    picture = (png("red", (64, 20)),)
    asked = [Prompt(text, text, picture) for text in ("How many?", "What colour?", "How long?")]
    alone = [generate(student, [prompt], max_new_tokens=12)[0] for prompt in asked]
    rows = [student.template.row(prompt) for prompt in asked]
    with Counting(student) as counted:
        assert generate(student, asked, max_new_tokens=12) == alone
    assert counted.tiles == len(student.template.pictures(picture[0], "")["pixel_values"])
    lengths = [len(row.prompt_ids) for row in rows]
    image = rows[0].prompt_ids.count(student.template.image_id)
    assert counted.passes[0] <= sum(lengths) - 2 * image
    options = {"max_new_tokens": 12, "temperature": 1.0, "num_candidates": 3}
    apart = [generate(student, [prompt], **options)[0] for prompt in asked]
    assert generate(student, asked, **options) == apart


def test_others_join_when_places_are_free_and_get_the_answers_that_they_get_alone(student, prompts):
    how = Drawing(60, temperature=2.0, num_candidates=3, seed=1)
    rows = [student.template.row(prompt) for prompt in (prompts * 3)]
    given = 0

    def asked():
        nonlocal given
        for row in rows:
            given += 1
            yield row

    most, found = 0, {}
    for number, answers in stream(student, asked(), how, in_flight=2):
        found[number] = answers
        most = max(most, given - len(found))
    together = continue_rows(
        student, rows, max_new_tokens=60, temperature=2.0, num_candidates=3, seed=1
    )
    assert [found[number] for number in range(len(rows))] == together
    assert most <= sampling.OPEN * 2


class Brief(checkpoint.Loaded):
    """One that ends most answers soon."""

    end_ids = tuple(range(60, 110))


def test_questions_of_which_one_long_answer_is_left_are_no_more_than_twice_the_places(
    student, prompts
):
    """Each holds its prompt in the cache."""
    how = Drawing(40, temperature=2.5, num_candidates=8, seed=1)
    rows = [student.template.row(prompt) for prompt in prompts * 6]
    num_open, most = 0, 0

    def asked():
        nonlocal num_open, most
        for row in rows:
            num_open += 1
            most = max(most, num_open)
            yield row

    for _ in stream(Brief(**vars(student)), asked(), how, in_flight=3):
        num_open -= 1
    assert most == sampling.OPEN * 3


def test_prompts_are_computed_together_only_up_to_a_bound(student, prompts, monkeypatch):
    together = generate(student, prompts, max_new_tokens=4)
    monkeypatch.setattr(sampling, "PREFILL_TOKENS", 1)
    with Counting(student) as counted:
        assert generate(student, prompts, max_new_tokens=4) == together
    assert counted.passes[:3] == [len(student.template.row(p).prompt_ids) for p in prompts]


class Squeezed(type(LLAVA)):
    """A family whose pictures take fewer positions than tokens, on three axes."""

    axes = 3

    def positions(self, config, prompt_ids, pictures):
        return (torch.arange(len(prompt_ids)) // 2).expand(3, -1)

    def position_ids(self, positions):
        assert len(positions) == 3
        return positions[2]


class Placed(checkpoint.Loaded):
    family = Squeezed()


def test_positions_go_on_from_the_highest_one_of_the_prompt(student, prompts):
    placed = Placed(**vars(student))
    row = student.template.row(prompts[0])
    ((answer,),) = continue_rows(placed, [row], max_new_tokens=8)
    batch = inputs(student, row)
    count = len(row.prompt_ids)
    for step, token in enumerate(answer.tokens):
        after = (count - 1) // 2 + 1 + torch.arange(step)
        batch["position_ids"] = torch.cat([torch.arange(count) // 2, after])[None]
        batch["input_ids"] = torch.tensor([[*row.prompt_ids, *answer.tokens[:step]]])
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        with torch.no_grad():
            assert int(student.model(**batch).logits[0, -1].argmax()) == token


def test_a_pictures_placeholder_is_never_drawn(student, prompts):
    answers = generate(student, prompts, max_new_tokens=60, temperature=3.0, num_candidates=16)
    drawn = {token for row in answers for one in row for token in one.tokens}
    assert student.template.image_id not in drawn
    assert len(drawn) > 200


def test_the_models_own_attention_is_in_place_again_afterwards(student, prompts):
    config = student.model.model.language_model.config
    before = config._attn_implementation
    generate(student, prompts[:1], max_new_tokens=2)
    assert config._attn_implementation == before == "sdpa"


def test_no_prompts_give_no_answers(student):
    assert generate(student, [], max_new_tokens=4) == []


LOGITS = torch.tensor([[0.5, 0.3, 0.2, 1e-30]]).log()


@pytest.mark.parametrize(
    ("uniform", "top_p", "token"),
    [
        (0.0, 1.0, 0), (0.499, 1.0, 0), (0.501, 1.0, 1), (0.799, 1.0, 1), (0.801, 1.0, 2),
        (1 - 2**-53, 1.0, 2),
        (0.624, 0.7, 0), (0.626, 0.7, 1), (0.999, 0.7, 1),  # 0.5 and 0.3 kept: 0.625 and 0.375
        (0.999, 0.4, 0),  # one token already holds the mass
    ],
)  # fmt: skip
def test_a_draw_inverts_the_cumulative_distribution(uniform, top_p, token):
    drawn = choose(LOGITS, torch.tensor([uniform], dtype=torch.float64), 1.0, top_p)
    assert drawn.tolist() == [token]


def test_draws_follow_the_tempered_distribution():
    count = 20000
    uniforms = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = choose(LOGITS.expand(count, -1), uniforms, 2.0, 1.0)
    wanted = torch.tensor([0.5, 0.3, 0.2]).sqrt()
    wanted = wanted / wanted.sum()
    assert (drawn.bincount(minlength=4)[:3] / count).tolist() == pytest.approx(
        wanted.tolist(), abs=0.012
    )
