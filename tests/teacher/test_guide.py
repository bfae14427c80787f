"""The configurations that docs/distill.md shows can be read, and lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chainsight.config import DistillSection
from chainsight.teacher.asked import TOLD
from chainsight.teacher.endpoint import resolve

GUIDE = (Path(__file__).parents[2] / "docs/distill.md").read_text(encoding="utf-8")
SHOWN = [yaml.safe_load(text)["distill"] for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)]
KEYS = {
    name: f"sk-of-{name}" for name in ("OPENAI_API_KEY", "AZURE_KEY", "AZURE_EAST", "AZURE_WEST")
}


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: str(shown["teacher"])[:40])
def test_what_the_guide_shows_can_be_read_and_each_place_has_its_own_key(
    shown: dict[str, Any],
) -> None:
    file = shown.pop("api_key_file", None)
    config = DistillSection.model_validate(shown)
    assert file is None or file.startswith("~/")
    for place, endpoint in zip((config, *config.also), resolve(config, KEYS), strict=True):
        keyless = "svc.cluster.local" in place.teacher or file is not None
        assert keyless or endpoint.key == KEYS[place.api_key_env or "OPENAI_API_KEY"]


def test_the_guide_shows_every_kind_of_place() -> None:
    assert len(SHOWN) == 5
    assert {shown.get("api_version") for shown in SHOWN} == {None, "2024-10-21"}
    assert any(shown.get("also") for shown in SHOWN)


def test_the_guide_names_settings_that_there_are() -> None:
    """In backticks, with an underscore: settings and metrics, but for these."""
    others = {"http_500", "max_completion_tokens", "maybe_paid_usd", *TOLD}
    known = set(re.findall(r'"(\w+)":', str(DistillSection.model_json_schema()).replace("'", '"')))
    named = set(re.findall(r"`(?:distill\.|filter\.|batch\.)?([a-z]+_[a-z_]+)`", GUIDE))
    assert named - others <= known
