"""Conversations of several turns, questions about no picture, and rows in little memory."""

import tracemalloc
from dataclasses import replace

import pytest
import torch

from chainsight import records, stored
from chainsight.config import DpoSection, SftSection
from chainsight.errors import CheckpointError
from chainsight.records import Example, Pair
from chainsight.stages import dpo
from chainsight.training.lessons import Reasons, build_rows
from chainsight.vlm import checkpoint, pictures
from chainsight.vlm.grouping import alone, batch
from chainsight.vlm.ids import Ids
from chainsight.vlm.prefix import ATTENTION, IGNORED, token_logps
from chainsight.vlm.sampling import generate
from chainsight.vlm.template import Prompt, Template
from tests.vlm.plain import inputs

TURNS = ("A red square.", "How large?", "Two by two.", "Thanks", "Welcome.")


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder)


@pytest.fixture(scope="module")
def template(loaded):
    return loaded.template


@pytest.fixture
def prompt(png):
    return Prompt("q", "What is it?", (png(),))


def test_ids_are_a_sequence_of_all_tokens():
    ids, whole = Ids([1, 5, 2, 5], 5, (3, 2)), (1, 5, 5, 5, 2, 5, 5)
    assert (len(ids), tuple(ids), list(reversed(ids))) == (7, whole, [*reversed(whole)])
    assert (ids[0], ids[3], ids[-1], ids[2:5]) == (1, 5, 5, (5, 5, 2))
    assert ids == whole
    assert whole == ids
    assert ids != Ids([1, 5, 2, 5], 5, (2, 3))
    assert (ids.count(5), 2 in ids, 7 in ids) == (5, True, False)
    assert Ids([]) == ()


def test_every_answer_is_learned_with_its_end_and_no_request_is(template, prompt):
    row = template.lesson(prompt, TURNS)
    learned = [token for token in row.learned if token != IGNORED]
    assert template.tokenizer.decode(learned) == (
        "A red square.<|eot|>Two by two.<|eot|>Welcome.<|eot|>"
    )
    assert len(row.learned) == len(row.response_ids)
    assert all(
        label in (IGNORED, token)
        for token, label in zip(row.response_ids, row.learned, strict=True)
    )


def test_a_conversation_reads_as_the_template_writes_it(template, prompt):
    row = template.lesson(prompt, TURNS)
    user, *turns = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in zip(["user", "assistant"] * 3, [prompt.text, *TURNS], strict=True)
    ]
    user["content"].insert(0, {"type": "image"})
    system = {"role": "system", "content": [{"type": "text", "text": prompt.system}]}
    whole = template.processor.apply_chat_template([system, user, *turns], tokenize=False)
    said = template.tokenizer.decode([*row.prompt_ids, *row.response_ids])
    assert said.replace("<image>" * template.row(prompt).prompt_ids.count(5), "<image>") == whole


def test_one_answer_needs_no_labels_of_its_own(template, prompt):
    row = template.lesson(prompt, TURNS[:1])
    assert row.labels is None
    assert row == template.row(prompt, [*template.text_ids(TURNS[0]), template.end_of_turn])


def test_a_later_answer_is_predicted_as_in_a_row_of_its_own(loaded, student_folder, prompt):
    """Its log-probabilities, given the conversation before it, by an ordinary forward pass."""
    shared = checkpoint.load(student_folder, attention=ATTENTION)
    row = shared.template.lesson(prompt, TURNS)
    made = batch(shared, [alone(row)])
    with torch.no_grad():
        found = token_logps(shared.model(**made.arguments()).logits, made.layout)
        logps = loaded.model(**inputs(loaded, row)).logits[0, :-1].log_softmax(-1)
    labels = torch.tensor(row.learned)
    kept = labels != IGNORED
    said = logps[-len(labels) :][kept]
    assert torch.allclose(found, said.gather(-1, labels[kept][:, None])[:, 0], atol=1e-4)


def test_control_tokens_in_later_turns_are_text(template, prompt):
    loud = ("Yes.", "<|eot|><|start|>assistant<|end|><image>", "<|eot|>No.")
    row = template.lesson(prompt, loud)
    calm = template.lesson(prompt, ("Yes.", "x", "No."))
    for token in template.special_ids:
        assert row.response_ids.count(token) == calm.response_ids.count(token)


def test_a_template_that_changes_what_was_said_is_refused(student_folder, prompt):
    processor = checkpoint.load(student_folder).processor
    processor.chat_template = processor.chat_template.replace(
        "{{ item['text'] }}",
        "{{ item['text'] if loop.length and messages|length < 4 else item['text'][:3] }}",
    )
    with pytest.raises(CheckpointError, match="changes what was said before"):
        Template(processor, system_prompt=True).lesson(prompt, TURNS)


def test_a_conversation_that_is_too_long_loses_its_last_exchanges(template, png):
    example = Example("c/1", "c", "t", "What?", TURNS[:1], "m", (png(),), turns=TURNS[1:])
    example = replace(example, kind="instruct")
    whole = build_rows({"c/1": example}, Reasons({}), template, SftSection())
    assert whole.metrics()["num_turns_cut"] == 0
    assert whole.metrics()["num_learned_tokens"] == sum(map(len, TURNS[::2])) + 3
    config = SftSection(max_length=len(whole.kept[0]) - 1)
    cut = build_rows({"c/1": example}, Reasons({}), template, config)
    assert cut.kept == [template.lesson(student_of(example), TURNS[:3])]
    assert (cut.metrics()["num_turns_cut"], cut.metrics()["num_instruct"]) == (1, 1)


def student_of(example):
    return Prompt(f"{example.id}/direct", example.question, example.images)


# --- questions about no picture --------------------------------------------------------------


def test_a_batch_may_be_about_text_alone_or_in_part(loaded, template, prompt):
    bare = template.row(Prompt("t", "What is it?", ()), (70,))
    assert 5 not in bare.prompt_ids
    assert not batch(loaded, [alone(bare)]).pictures
    seen = alone(template.row(prompt))
    both, one = (batch(loaded, groups).pictures for groups in ([alone(bare), seen], [seen]))
    assert torch.equal(both["pixel_values"], one["pixel_values"])


def test_text_is_answered_alone_as_in_company(loaded, prompt):
    bare = Prompt("t", "Say something", ())
    ((alone_,),) = generate(loaded, [bare], max_new_tokens=6)
    (first,), (second,) = generate(loaded, [prompt, bare], max_new_tokens=6)
    assert second.text == alone_.text
    ((own,),) = generate(loaded, [prompt], max_new_tokens=6)
    assert first.text == own.text


# --- memory ----------------------------------------------------------------------------------

NOISE = bytes(range(256)) * 400
"""100 kB behind a picture's own bytes, which no decoder looks at."""


def questions(png, count):
    return [
        Example(f"toy/{k}", "toy", "train", "What?", ("1",), "exact_match",
                (png((k % 256, 0, k // 256)) + NOISE,))
        for k in range(count)
    ]  # fmt: skip


@pytest.fixture
def known(tmp_path, png):
    """400 stored questions with 40 MB of images."""
    records.write(tmp_path / "e.parquet", questions(png, 400), Example)
    return {one.id: one for one in stored.examples(tmp_path / "e.parquet")}


def growth(work):
    """What `work` returns, and the most memory that it took meanwhile, bytes."""
    tracemalloc.start()
    made = work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return made, most


def test_sft_rows_hold_no_image_and_each_group_is_read_once(known, template):
    reasons = dict.fromkeys(known, "So.\n\n### Answer: 1")
    template.lesson(Prompt("q", "?", ()), ["!"])  # what a first call leaves behind
    rows, most = growth(lambda: build_rows(known, Reasons(reasons), template, SftSection()))
    assert len(rows.kept) == 800
    assert most < 5_000_000
    assert stored._kept.cache_info().misses <= 400 * len(NOISE) // records.GROUP_BYTES + 1
    assert rows.kept[799].images[0].endswith(NOISE)


def test_dpo_rows_hold_no_image(known, template):
    pairs = [Pair(name, "right", "wrong", 0, 1) for name in known]
    rows, most = growth(lambda: dpo.build_rows(known, pairs, template, DpoSection()))
    assert len(rows) == 400
    assert most < 5_000_000
    assert rows[7].chosen.prompt_ids is rows[7].rejected.prompt_ids
    assert rows[7].chosen.images is rows[7].rejected.images


class Counting:
    """An image processor that counts what it prepares."""

    def __init__(self, processor):
        self.processor, self.count = processor, 0

    def __call__(self, images, **options):
        self.count += len(images)
        return self.processor(images=images, **options)


def test_groups_of_one_step_prepare_a_picture_once(known, loaded, monkeypatch):
    counting = Counting(loaded.processor.image_processor)
    monkeypatch.setattr(loaded.template, "_pictures", pictures.Pictures(counting))
    rows = [
        loaded.template.lesson(Prompt(f"{one.id}/{k}", f"What? {k}", one.images), ["!"])
        for one in list(known.values())[:8]
        for k in range(4)
    ]
    for turn in range(2):  # the reference's pass and the policy's
        for start in range(0, 32, 2):
            batch(loaded, [alone(row) for row in rows[start : start + 2]])
        assert counting.count == 8, turn


def test_prepared_pictures_stay_within_their_bound(known, loaded, monkeypatch):
    own = pictures.Pictures(loaded.processor.image_processor)
    size = sum(t.nbytes for t in own.get(known["toy/0"].images[0], "").values())
    monkeypatch.setattr(pictures, "CACHE_BYTES", 5 * size)

    def prepare_all():
        for one in known.values():
            own.get(one.images[0], "")

    _, most = growth(prepare_all)
    assert len(own._kept) == 5
    assert own._size == 5 * size
    assert most < 5_000_000  # neither the files nor their copies are kept
