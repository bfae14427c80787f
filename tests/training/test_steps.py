"""A whole optimizer step: loss and gradient as of plain rows, with exactly the work it needs."""

import socket
from itertools import takewhile

import pytest
import torch
from counted import counting
from lessons import (
    KINDS,
    context,
    dpo_trainer,
    gradient,
    nudge,
    pairs_of,
    plain_dpo,
    plain_sft,
    rank_main,
    relative,
    sft_rows,
    sft_trainer,
    step,
    train,
)
from torch import multiprocessing

from chainsight.vlm import checkpoint


@pytest.fixture
def where(tmp_path, student_folder):
    return lambda name="work", **changes: context(tmp_path / name, student_folder, **changes)


def rows_of(trainer, rows):
    return [rows[n] for part in trainer.steps[0] for n in part]


@pytest.mark.parametrize("share", ["picture", "question", "nothing"])
def test_an_sft_step_is_that_of_plain_rows(where, student_folder, share):
    plain = checkpoint.load(student_folder)
    rows = sft_rows(plain.template)
    trainer = sft_trainer(where(), rows, share=share)
    found, slope = step(trainer)
    loss = plain_sft(plain, rows_of(trainer, rows))
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-6)
    assert relative(slope, gradient(plain.model)) < 1e-5


@pytest.mark.parametrize(
    ("reference", "share", "weights"),
    [
        ("cache", "question", "none"),
        ("cache", "pair", "none"),
        ("cache", "nothing", "cos"),
        ("model", "picture", "linear"),
    ],
)
def test_a_dpo_step_is_that_of_plain_pairs(where, student_folder, reference, share, weights):
    plain, fixed = (checkpoint.load(student_folder) for _ in range(2))
    pairs = pairs_of(plain.template)
    settings = {"reference": reference, "share": share, "token_weights": weights}
    trainer = dpo_trainer(where(), pairs, **settings)
    for name, parameter in plain.model.named_parameters():
        parameter.requires_grad_("language_model" in name or "lm_head" in name)
    for model in (trainer.model, plain.model):
        nudge(model)
    found, slope = step(trainer)
    loss = plain_dpo(plain, fixed, rows_of(trainer, pairs), weights)
    loss.backward()
    assert abs(found - 0.6931) > 1e-3  # policy and reference do differ
    assert found == pytest.approx(loss.item(), rel=1e-6)
    assert relative(slope, gradient(plain.model)) < 1e-5


def test_a_reference_of_any_kind_gives_the_same_step(where):
    settings = {"tuning": "lora", "lora_rank": 2}
    made = []
    for reference, share in (("adapter", "nothing"), ("adapter", "question"), ("cache", "picture")):
        trainer = dpo_trainer(
            where(f"{reference}-{share}"),
            reference=reference,
            share=share,
            batch_size=99,
            **settings,
        )
        torch.manual_seed(1)
        for _, parameter in sorted(trainer.model.named_parameters()):
            if parameter.requires_grad:
                parameter.data = 0.1 * torch.randn_like(parameter)
        made.append(step(trainer))
    for loss, slope in made[1:]:
        assert loss == pytest.approx(made[0][0], rel=1e-6)
        assert relative(slope, made[0][1]) < 1e-5


def test_the_sft_term_counts_a_chosen_response_in_each_of_its_pairs(where):
    both = [
        step(dpo_trainer(where(share), share=share, sft_weight=1.0, batch_size=99))
        for share in ("question", "nothing")
    ]
    assert both[0][0] == pytest.approx(both[1][0], rel=1e-6)
    assert relative(both[0][1], both[1][1]) < 1e-5


def one_pair(student_folder):
    template = checkpoint.load(student_folder).template
    pair = pairs_of(template)[0]
    num_tiles = len(template.pictures(pair.chosen.images[0], "")["pixel_values"])
    sizes = [len(ids) for ids in (pair.chosen.prompt_ids, pair.chosen.response_ids)]
    return pair, (*sizes, len(pair.rejected.response_ids)), num_tiles


@pytest.mark.parametrize(("reference", "tuning"), [("model", "full"), ("adapter", "lora")])
def test_a_pair_takes_one_prompt_a_pass_and_its_picture_once(
    where, student_folder, reference, tuning
):
    pair, (prompt, chosen, rejected), num_tiles = one_pair(student_folder)
    trainer = dpo_trainer(where(), [pair], reference=reference, tuning=tuning, lora_rank=2)
    others = [trainer.frozen] if trainer.frozen is not None else []
    with counting(trainer.maker.loaded, *others) as counts:
        step(trainer)
    assert counts.tokens == 2 * (prompt + chosen + rejected)
    assert counts.head_rows == 2 * (chosen + rejected)
    assert (counts.tiles, counts.images) == (num_tiles, 1)


def test_kept_scores_leave_one_pass(where, student_folder):
    pair, (prompt, chosen, rejected), num_tiles = one_pair(student_folder)
    trainer = dpo_trainer(where(), [pair], reference="cache")
    with counting(trainer.maker.loaded) as counts:
        step(trainer)
    assert counts.tokens == prompt + chosen + rejected
    assert (counts.tiles, counts.images) == (num_tiles, 0)  # prepared when it was scored


@pytest.mark.parametrize("share", ["picture", "question", "nothing"])
def test_rows_take_what_they_share_once(where, student_folder, share):
    rows = sft_rows(checkpoint.load(student_folder).template)[:4]  # two questions of one picture
    trainer = sft_trainer(where(), rows, share=share, device_batch_size=4)
    together = {"picture": [rows], "question": [rows[:2], rows[2:]], "nothing": [[r] for r in rows]}
    with counting(trainer.maker.loaded) as counts:
        step(trainer)
    assert counts.tokens == sum(map(once, together[share]))
    assert counts.head_rows == sum(len(row.response_ids) for row in rows)
    assert counts.images == 1


def once(rows):
    """Tokens of rows whose common beginning is computed once."""
    columns = zip(*(row.prompt_ids for row in rows), strict=False)
    common = sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, columns))
    return common + sum(len(row) - common for row in rows)


def test_two_processes_train_as_one_does(tmp_path, student_folder):
    """Weights copied and cut up; passes about text, and ghosts, beside passes with pictures."""
    alone = {kind: train(tmp_path / "alone", student_folder, kind) for kind in KINDS}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(
        rank_main, args=(port, tmp_path, student_folder), nprocs=2, start_method="spawn"
    )
    for (parallel, kind), curve in torch.load(tmp_path / "curves.pt").items():
        assert len(curve) == (3 if kind == "sft" else 4)
        for one, two in zip(alone[kind], curve, strict=True):
            for name in ("loss", "grad_norm"):
                assert two[name] == pytest.approx(one[name], rel=1e-5), (parallel, kind, name)
