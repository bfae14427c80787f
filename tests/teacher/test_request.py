import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chainsight.config import DistillSection
from chainsight.errors import RecordError
from chainsight.prompts import TEACHER_SYSTEM, teacher_prompt
from chainsight.records import Example
from chainsight.teacher.request import Question, Variant, body, first, request_key


def test_the_same_question_is_the_same_request(charts: list[Example]) -> None:
    config = DistillSection()
    key = request_key(config, "openai", charts[0])
    assert len(key) == 64
    same = config.model_copy(update={"concurrency": 3, "budget_usd": 1.0, "max_retries": 0})
    assert key == request_key(same, "openai", charts[0])
    assert key == request_key(config, "openai", replace(charts[0], id="other", metric="anls"))


def test_whatever_changes_what_is_asked_changes_the_request(
    charts: list[Example], picture: Callable[..., bytes]
) -> None:
    config, example = DistillSection(), charts[0]
    settings: list[dict[str, Any]] = [
        {"teacher_model": "other"},
        {"temperature": 0.5},
        {"max_tokens": 512},
        {"image_max_side": 32},
        {"image_detail": "low"},
        {"samples": 2},
    ]
    keys = [request_key(config.model_copy(update=one), "openai", example) for one in settings]
    examples: list[dict[str, Any]] = [
        {"question": "Why?"},
        {"references": ("99",)},
        {"choices": ("1", "2")},
        {"images": (picture(64, 64),)},
    ]
    keys += [request_key(config, "openai", replace(example, **one)) for one in examples]
    keys += [request_key(config, "scripted", example)]
    keys += [request_key(config, "openai", example, Variant(1, 0.0))]
    keys += [request_key(config, "openai", example, Variant(2, 0.0))]
    assert len({request_key(config, "openai", example, first(config)), *keys}) == 14


def test_a_smaller_bound_that_every_image_fits_asks_nothing_anew(charts: list[Example]) -> None:
    lower = DistillSection(image_max_side=64)
    assert request_key(lower, "openai", charts[0]) == request_key(
        DistillSection(), "openai", charts[0]
    )


def test_a_request_about_one_image_has_the_key_under_which_it_was_paid(
    charts: list[Example],
) -> None:
    example = charts[0]
    asked = {
        "teacher": "openai",
        "model": "gpt-4o-2024-05-13",
        "max_tokens": 1024,
        "temperature": 0.0,
        "system": TEACHER_SYSTEM,
        "prompt": teacher_prompt(example),
        "image": hashlib.sha256(example.images[0]).hexdigest(),
        "sent": "as is",
    }
    text = json.dumps(asked, sort_keys=True)
    assert (
        request_key(DistillSection(), "openai", example)
        == hashlib.sha256(text.encode()).hexdigest()
    )


def test_every_image_and_its_place_are_in_the_request(
    charts: list[Example], picture: Callable[..., bytes]
) -> None:
    one, two = picture(64, 64), picture(2000, 10)
    pairs = [(), (one,), (two,), (one, two), (two, one)]
    keys = {
        request_key(
            DistillSection(image_max_side=side),
            "openai",
            replace(charts[0], images=(*charts[0].images, *more)),
        )
        for more in pairs
        for side in (1024, 1500)
    }
    assert len(keys) == 2 + 3 * 2  # the side matters only where it makes an image smaller
    with pytest.raises(RecordError):
        request_key(
            DistillSection(), "openai", replace(charts[0], images=(*charts[0].images, b"none"))
        )


def test_a_question_about_text_has_a_key_of_its_own(charts: list[Example]) -> None:
    bare = replace(charts[0], images=())
    assert request_key(DistillSection(), "openai", bare) != request_key(
        DistillSection(), "openai", charts[0]
    )


@pytest.mark.parametrize("model", ["gpt-5-mini", "o3-2025-04-16", "o4-mini"])
def test_a_teacher_that_reasons_is_sent_the_parameters_that_it_takes(
    charts: list[Example], model: str
) -> None:
    config = DistillSection(teacher_model=model, max_tokens=4096)
    sent = body(config, Question("", charts[0], first(config)), model)
    assert sent["max_completion_tokens"] == 4096
    assert not {"max_tokens", "temperature"} & set(sent)


def test_a_deployment_of_any_name_can_be_said_to_reason_or_not(charts: list[Example]) -> None:
    keys = set()
    for name, said, field in (
        ("ours", True, "max_completion_tokens"),
        ("ours", None, "max_tokens"),
        ("gpt-5-chat", False, "max_tokens"),
        ("gpt-4o-2024-05-13", None, "max_tokens"),
    ):
        config = DistillSection(teacher_model=name, reasoning=said)
        sent = body(config, Question("", charts[0], first(config)), name)
        assert {"max_tokens", "max_completion_tokens"} & set(sent) == {field}, name
        keys.add(request_key(config, "openai", charts[0]))
    assert len(keys) == 4
