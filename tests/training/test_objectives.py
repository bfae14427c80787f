"""The losses against numbers worked out by hand and against TRL's trainer."""

import copy
import io
import math

import pytest
import torch
from PIL import Image

from chainsight.training.objectives import bco_loss, dpo_loss, sft_loss, token_weights

OWNERS = torch.tensor([0, 0, 0, 2, 3, 3])
"""Three tokens, none, one and two."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", [1, 1, 1, 1, 1, 1]),
        ("linear", [1, 2 / 3, 1 / 3, 1, 1, 1 / 2]),
        ("cos", [1, 0.75, 0.25, 1, 1, 0.5]),  # cos of 0, 60 and 120 degrees; of 0 and 90
    ],
)
def test_token_weights_fall_from_one_along_each_response(kind, expected):
    assert token_weights(OWNERS, kind).tolist() == pytest.approx(expected, abs=1e-6)


def test_nothing_learned_weighs_and_costs_nothing():
    none = torch.zeros(0, dtype=torch.long)
    for kind in ("none", "cos", "linear"):
        assert token_weights(none, kind).tolist() == []
    assert sft_loss(torch.zeros(0), 0).item() == 0.0


def test_dpo_equals_numbers_worked_out_by_hand():
    # margins: policy -1 - -2 = 1, reference -1.5 - -1.5 = 0: z = 1; second pair z = -2 - 1 = -3
    result = dpo_loss(
        torch.tensor([-1.0, -4.0]), torch.tensor([-2.0, -2.0]),
        torch.tensor([-1.5, -3.0]), torch.tensor([-1.5, -4.0]), beta=0.1,
    )  # fmt: skip
    assert result.loss.tolist() == pytest.approx(
        [math.log1p(math.exp(-0.1)), math.log1p(math.exp(0.3))]
    )
    assert result.chosen_rewards.tolist() == pytest.approx([0.05, -0.1])
    assert result.rejected_rewards.tolist() == pytest.approx([-0.05, 0.2])


def test_bco_judges_each_response_by_itself_as_worked_out_by_hand():
    # rewards: 0.1 * (-1 - -1.5) = 0.05 and 0.1 * (-2 - -1.5) = -0.05; second pair -0.1 and 0.2
    sides = (
        torch.tensor([-1.0, -4.0]), torch.tensor([-2.0, -2.0]),
        torch.tensor([-1.5, -3.0]), torch.tensor([-1.5, -4.0]),
    )  # fmt: skip
    assert bco_loss(*sides, beta=0.1).tolist() == pytest.approx(
        [
            math.log1p(math.exp(-0.05)) + math.log1p(math.exp(-0.05)),
            math.log1p(math.exp(0.1)) + math.log1p(math.exp(0.2)),
        ]
    )
    moved = (sides[0] - 3, sides[1] - 3, *sides[2:])  # both likelier or not: DPO does not see it
    assert dpo_loss(*moved, beta=0.1).loss.tolist() == dpo_loss(*sides, beta=0.1).loss.tolist()
    assert bco_loss(*moved, beta=0.1)[0] > bco_loss(*sides, beta=0.1)[0]


def test_bco_of_a_policy_equal_to_its_reference_is_twice_ln_2():
    logps = torch.tensor([-123.456]), torch.tensor([-65.4321])
    assert bco_loss(*logps, *logps, beta=0.1).item() == pytest.approx(2 * math.log(2), abs=1e-7)


def test_a_policy_equal_to_its_reference_loses_ln_2():
    logps = torch.tensor([-123.456]), torch.tensor([-65.4321])
    assert dpo_loss(*logps, *logps, beta=0.1).loss.item() == pytest.approx(math.log(2), abs=1e-7)


def test_dpo_stays_finite_far_out():
    far = dpo_loss(torch.tensor([-1e4]), torch.tensor([0.0]), torch.zeros(1), torch.zeros(1), 1.0)
    assert far.loss.item() == pytest.approx(1e4)


def test_parts_of_a_step_add_up_to_its_token_mean():
    logps = torch.tensor([-1.0, -2.0, -6.0])
    assert sft_loss(logps, 3).item() == 3.0
    assert sft_loss(logps[:1], 3) + sft_loss(logps[1:], 3) == 3.0


@pytest.fixture
def perturbed(student_folder):
    """A reference and a policy a step away from it."""
    from chainsight.vlm import checkpoint
    from chainsight.vlm.prefix import ATTENTION

    reference, policy = (checkpoint.load(student_folder, attention=ATTENTION) for _ in range(2))
    torch.manual_seed(0)
    for parameter in policy.model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter) * parameter.abs().mean())
    return reference, policy


LOSSES = {
    "dpo": {"loss_type": ["sigmoid"], "loss_weights": [1.0]},
    "mpo": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
}


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_on_pictures_equals_trls_trainer(perturbed, png, tmp_path, kind):
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from chainsight import prompts
    from chainsight.training.data import Maker, PairRow, num_learned
    from chainsight.vlm.prefix import branch_sums, score
    from chainsight.vlm.template import Prompt, Row

    reference, policy = perturbed
    chats, rows = [], []
    for text, chosen, rejected, size in (
        ("How many?", "two bars, so 2", "three", (32, 32)),
        ("Which is longest of all?", "feb", "I see jan and mar, so jan", (64, 20)),
    ):
        image = png("red", size)
        say = {
            role: [{"role": "assistant", "content": [{"type": "text", "text": said}]}]
            for role, said in (("chosen", chosen), ("rejected", rejected))
        }
        asked = [
            {"role": "system", "content": [{"type": "text", "text": prompts.SYSTEM}]},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]},
        ]
        chats.append({"prompt": asked, "images": [Image.open(io.BytesIO(image))], **say})
        ids = policy.template.row(Prompt("q", text, (image,))).prompt_ids
        ends = (policy.template.end_of_turn,)
        rows.append(
            [
                Row("q", ids, (*policy.template.text_ids(s), *ends), (image,))
                for s in (chosen, rejected)
            ]
        )

    args = DPOConfig(
        output_dir=str(tmp_path), max_length=None, per_device_train_batch_size=2, bf16=False,
        activation_checkpointing=False, use_cpu=True, report_to=[], beta=0.1,
        **LOSSES[kind],
    )  # fmt: skip
    # The column of pictures stays a plain list: the trainer only looks at its name.
    theirs = DPOTrainer(
        model=copy.deepcopy(policy.model),
        ref_model=reference.model,
        args=args,
        train_dataset=Dataset.from_dict({"images": [0], "prompt": [0]}),
        processing_class=policy.processor,
    )
    batch = theirs.data_collator(chats)
    expected = theirs.compute_loss(theirs.model, batch)
    expected.backward()

    pairs = [PairRow(*both) for both in rows]
    made = Maker(policy, "question", pictured=False).pairs(pairs, ((0,), (1,)))
    tokens = [score(loaded.model, made.batch.arguments()) for loaded in (policy, reference)]
    logps, fixed = (branch_sums(each, made.batch.layout) for each in tokens)
    sides = [
        sums[which] for sums in (logps, fixed.detach()) for which in (made.chosen, made.rejected)
    ]
    ours = dpo_loss(*sides, beta=0.1).loss.mean()
    assert abs(ours.item() - math.log(2)) > 1e-3  # the policies do differ
    if kind == "mpo":
        num_tokens = sum(num_learned(pair.chosen) for pair in pairs)
        sft = sft_loss(logps[made.chosen], num_tokens)
        ours = 0.8 * ours + 0.2 * bco_loss(*sides, beta=0.1).mean() + sft
    ours.backward()

    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    trained = dict(theirs.model.named_parameters())
    for name, parameter in policy.model.named_parameters():
        if parameter.grad is not None and trained[name].grad is not None:
            torch.testing.assert_close(parameter.grad, trained[name].grad, rtol=1e-3, atol=1e-5)
