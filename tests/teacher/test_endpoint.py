import pytest

from chainsight.config import DistillSection
from chainsight.errors import ConfigError
from chainsight.teacher.endpoint import NO_KEY, resolve

KEY = "sk-planted-0123456789abcdef"
MODEL = "gpt-4o-2024-05-13"


def test_openai_takes_the_key_from_the_named_variable() -> None:
    config = DistillSection(api_key_env="MY_KEY")
    (endpoint,) = resolve(config, {"MY_KEY": f" {KEY}\n", "OPENAI_API_KEY": "other"})
    assert (endpoint.identity, endpoint.base_url, endpoint.model) == ("openai", None, MODEL)
    assert endpoint.key == KEY
    assert endpoint.key_place == "the environment variable MY_KEY"
    assert KEY not in repr(endpoint)


@pytest.mark.parametrize("environment", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " \n"}])
def test_openai_without_a_key_names_the_variable_and_the_ways_out(
    environment: dict[str, str],
) -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY is not set; .*teacher: scripted"):
        resolve(DistillSection(), environment)


def test_openai_behind_another_address_is_another_teacher() -> None:
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gateway/v1"}
    (endpoint,) = resolve(DistillSection(), environment)
    assert endpoint.identity == "openai https://gateway/v1"
    assert (endpoint.base_url, endpoint.key) == ("https://gateway/v1", KEY)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: not a base URL"):
        resolve(DistillSection(), environment | {"OPENAI_BASE_URL": "https://"})


@pytest.mark.parametrize("key", ["sk-secret one", "sk-secret\nsecond", "sk-secrét"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY: not a key") as caught:
        resolve(DistillSection(), {"OPENAI_API_KEY": key})
    assert "secr" not in str(caught.value)


def test_an_endpoint_of_ones_own_needs_no_key_but_may_have_one() -> None:
    config = DistillSection(teacher="http://127.0.0.1:8000/v1/")
    (endpoint,) = resolve(config, {})
    assert endpoint.identity == "http://127.0.0.1:8000/v1"
    assert (endpoint.base_url, endpoint.key) == ("http://127.0.0.1:8000/v1/", NO_KEY)
    assert resolve(config, {"OPENAI_API_KEY": KEY})[0].key == KEY


def test_further_places_have_their_own_name_key_and_limits_for_the_teacher() -> None:
    config = DistillSection(
        requests_per_minute=500,
        also=[
            {
                "teacher": "https://other/v1",
                "teacher_model": "deployed",
                "api_key_env": "OTHER",
                "tokens_per_minute": 1000,
            }
        ],
    )
    here, other = resolve(config, {"OPENAI_API_KEY": KEY, "OTHER": "sk-other"})
    assert (here.model, here.key, here.requests_per_minute) == (MODEL, KEY, 500)
    assert (other.identity, other.model, other.key) == ("https://other/v1", "deployed", "sk-other")
    assert (other.requests_per_minute, other.tokens_per_minute) == (None, 1000)


@pytest.mark.parametrize(
    "url", ["http://", "http:///v1", "http://host:99999/v1", "http://me:secret@host/v1"]
)
def test_what_is_no_base_url_is_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(ConfigError, match=r"not a base URL such as http://host:port/v1") as caught:
        resolve(DistillSection(teacher=url), {})
    assert "secret" not in str(caught.value)
