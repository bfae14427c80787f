import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chainsight.config import DistillSection
from chainsight.errors import ConfigError, RecordError
from chainsight.prompts import TEACHER_SYSTEM, teacher_prompt
from chainsight.records import Example
from chainsight.teacher.endpoint import NO_KEY, Endpoint, request_key, resolve

KEY = "sk-planted-0123456789abcdef"
HERE = Endpoint("openai", None, KEY)


def test_openai_takes_the_key_from_the_named_variable() -> None:
    config = DistillSection(api_key_env="MY_KEY")
    endpoint = resolve(config, {"MY_KEY": f" {KEY}\n", "OPENAI_API_KEY": "other"})
    assert endpoint == HERE
    assert KEY not in repr(endpoint)


@pytest.mark.parametrize("environment", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " \n"}])
def test_openai_without_a_key_names_the_variable_and_the_ways_out(
    environment: dict[str, str],
) -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY is not set; .*teacher: scripted"):
        resolve(DistillSection(), environment)


def test_openai_behind_another_address_is_another_teacher() -> None:
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gateway/v1"}
    assert resolve(DistillSection(), environment) == Endpoint(
        "openai https://gateway/v1", "https://gateway/v1", KEY
    )
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: not a base URL"):
        resolve(DistillSection(), environment | {"OPENAI_BASE_URL": "https://"})


@pytest.mark.parametrize("key", ["sk-secret one", "sk-secret\nsecond", "sk-secrét"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY: not a key") as caught:
        resolve(DistillSection(), {"OPENAI_API_KEY": key})
    assert "secr" not in str(caught.value)


def test_an_endpoint_of_ones_own_needs_no_key_but_may_have_one() -> None:
    config = DistillSection(teacher="http://127.0.0.1:8000/v1/")
    assert resolve(config, {}) == Endpoint(
        "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/", NO_KEY
    )
    assert resolve(config, {"OPENAI_API_KEY": KEY}).key == KEY


@pytest.mark.parametrize(
    "url", ["http://", "http:///v1", "http://host:99999/v1", "http://me:secret@host/v1"]
)
def test_what_is_no_base_url_is_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(ConfigError, match=r"not a base URL such as http://host:port/v1") as caught:
        resolve(DistillSection(teacher=url), {})
    assert "secret" not in str(caught.value)


def test_the_same_question_is_the_same_request(charts: list[Example]) -> None:
    config = DistillSection()
    key = request_key(config, HERE, charts[0])
    assert len(key) == 64
    assert key == request_key(config, replace(HERE, key="another"), charts[0])
    same = config.model_copy(update={"concurrency": 3, "budget_usd": 1.0, "max_retries": 0})
    assert key == request_key(same, HERE, charts[0])
    assert key == request_key(config, HERE, replace(charts[0], id="other", metric="anls"))


def test_whatever_changes_what_is_asked_changes_the_request(
    charts: list[Example], picture: Callable[..., bytes]
) -> None:
    config, example = DistillSection(), charts[0]
    settings: list[dict[str, Any]] = [
        {"teacher_model": "other"},
        {"temperature": 0.5},
        {"max_tokens": 512},
        {"image_max_side": 32},
    ]
    keys = [request_key(config.model_copy(update=one), HERE, example) for one in settings]
    examples: list[dict[str, Any]] = [
        {"question": "Why?"},
        {"references": ("99",)},
        {"choices": ("1", "2")},
        {"image": picture(64, 64)},
    ]
    keys += [request_key(config, HERE, replace(example, **one)) for one in examples]
    keys += [request_key(config, replace(HERE, identity="scripted"), example)]
    assert len({request_key(config, HERE, example), *keys}) == 10


def test_a_smaller_bound_that_every_image_fits_asks_nothing_anew(charts: list[Example]) -> None:
    lower = DistillSection(image_max_side=64)
    assert request_key(lower, HERE, charts[0]) == request_key(DistillSection(), HERE, charts[0])


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
    assert request_key(DistillSection(), HERE, example) == hashlib.sha256(text.encode()).hexdigest()


def test_every_image_and_its_place_are_in_the_request(
    charts: list[Example], picture: Callable[..., bytes]
) -> None:
    one, two = picture(64, 64), picture(2000, 10)
    pairs = [(), (one,), (two,), (one, two), (two, one)]
    keys = {
        request_key(
            DistillSection(image_max_side=side),
            HERE,
            replace(charts[0], images=(*charts[0].images, *more)),
        )
        for more in pairs
        for side in (1024, 1500)
    }
    assert len(keys) == 2 + 3 * 2  # the side matters only where it makes an image smaller
    with pytest.raises(RecordError):
        request_key(DistillSection(), HERE, replace(charts[0], images=(*charts[0].images, b"none")))
