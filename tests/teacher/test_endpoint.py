from pathlib import Path
from typing import Any

import pytest

from chainsight.config import DistillSection
from chainsight.config.section import validate
from chainsight.errors import ConfigError
from chainsight.teacher.endpoint import resolve
from chainsight.teacher.keys import NO_KEY, MissingKeyError

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


ELSEWHERE = {"teacher": "http://vllm.models.svc:8000/v1"}


def test_a_key_does_not_go_to_another_host_that_names_none() -> None:
    """A model server in the cluster has no business with OpenAI's key."""
    here, other = resolve(DistillSection(also=[ELSEWHERE]), {"OPENAI_API_KEY": KEY})
    assert (here.key, other.key) == (KEY, NO_KEY)
    named = ELSEWHERE | {"api_key_env": "OPENAI_API_KEY"}
    assert resolve(DistillSection(also=[named]), {"OPENAI_API_KEY": KEY})[1].key == KEY


def test_a_place_at_the_teachers_own_host_has_its_key() -> None:
    also = [{"teacher": "https://gateway/second/v1"}]
    config = DistillSection(teacher="https://gateway/first/v1", also=also)
    assert [place.key for place in resolve(config, {"OPENAI_API_KEY": KEY})] == [KEY, KEY]


def test_openai_beside_another_teacher_wants_a_key_of_its_own() -> None:
    config = DistillSection(teacher="http://localhost:8000/v1", also=[{"teacher": "openai"}])
    with pytest.raises(MissingKeyError, match=r"api_key_env of openai in distill\.also is not set"):
        resolve(config, {"OPENAI_API_KEY": KEY})


def test_azure_answers_nobody_without_a_key() -> None:
    config = DistillSection(teacher="https://r.openai.azure.com", api_version="2024-10-21")
    with pytest.raises(MissingKeyError, match=r"Azure OpenAI at https://r\.openai\.azure\.com"):
        resolve(config, {})
    (endpoint,) = resolve(config, {"OPENAI_API_KEY": KEY})
    assert (endpoint.api_version, endpoint.is_azure) == ("2024-10-21", True)


def test_an_entry_of_the_pods_secret_is_the_key_that_has_its_name(tmp_path: Path) -> None:
    for name, key in {"OPENAI_API_KEY": KEY, "EAST": "sk-of-the-east"}.items():
        (tmp_path / name).write_text(key)
    also = [{"teacher": "https://east/v1", "api_key_env": "EAST"}]
    here, east = resolve(DistillSection(also=also), {}, mounted=tmp_path)
    assert (here.key, east.key) == (KEY, "sk-of-the-east")
    assert east.key_place == f"the file {tmp_path / 'EAST'}"


def test_the_environment_has_the_last_word_over_the_pods_secret(tmp_path: Path) -> None:
    (tmp_path / "OPENAI_API_KEY").write_text("sk-mounted")
    assert resolve(DistillSection(), {"OPENAI_API_KEY": KEY}, mounted=tmp_path)[0].key == KEY


PASTED = "sk-pasted-0123456789"


@pytest.mark.parametrize(
    "settings", [{"api_key_env": PASTED}, {"also": [{"teacher": "openai", "api_key_env": PASTED}]}]
)
def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError, match="that is a key") as caught:
        validate(DistillSection, settings, "distill")
    assert PASTED not in str(caught.value)
