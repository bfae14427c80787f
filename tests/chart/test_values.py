"""values.yaml and its schema: closed, described, alike, without secrets; the README is theirs."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from charts import CHART, ROOT

README = ROOT / "k8s" / "readme.py"
SETTINGS = runpy.run_path(str(README))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
OPTIONAL = re.compile(r"^global$|SecurityContext\.")
"""Helm's own key, and Kubernetes' own fields, of which values.yaml has those that matter."""
SECRETIVE = re.compile(r"password|secret|token|credential|apikey|accesskey", re.IGNORECASE)


def _objects(schema: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every place of the schema that describes an object by its properties."""
    found = []
    if isinstance(schema, dict):
        if "properties" in schema and not path.endswith(".properties"):
            found.append((path, schema))
        for name, part in schema.items():
            found += _objects(part, f"{path}.{name}")
    elif isinstance(schema, list):
        for index, part in enumerate(schema):
            found += _objects(part, f"{path}.{index}")
    return found


def test_the_schema_is_a_schema_and_the_defaults_keep_to_it() -> None:
    validator = jsonschema.validators.validator_for(SCHEMA)
    validator.check_schema(SCHEMA)
    assert [error.message for error in validator(SCHEMA).iter_errors(VALUES)] == []


def test_every_object_of_the_schema_is_closed() -> None:
    conditions = re.compile(r"\.(if|then|else|not|oneOf|anyOf|allOf)(\.|$)")
    open_ones = [
        path
        for path, schema in _objects(SCHEMA)
        if schema.get("additionalProperties") is not False and not conditions.search(path)
    ]
    assert open_ones == []


def test_every_key_is_described() -> None:
    descriptions = {
        setting.path: setting.schema.get("description", "")
        for setting in SETTINGS["settings"](CHART)
    }
    assert len(descriptions) > 50
    poor = [path for path, words in descriptions.items() if not re.fullmatch(r"\S.+\.", words)]
    assert poor == []


def test_values_and_schema_know_the_same_keys() -> None:
    """Helm refuses a value that the schema lacks; a key that values.yaml lacks is hidden."""
    hidden = [setting.path for setting in SETTINGS["settings"](CHART) if not setting.is_set]
    assert [path for path in hidden if not OPTIONAL.search(path)] == []


def test_no_value_is_a_secret() -> None:
    """Credentials are Secrets that exist, by name; values name their keys at most."""
    suspects = {
        setting.path: setting.default
        for setting in SETTINGS["settings"](CHART)
        if not setting.is_group and SECRETIVE.search(setting.path.rpartition(".")[2])
    }
    named = re.compile(r"(Key|Secret|Secrets|existingSecret)$")
    assert [path for path in suspects if not named.search(path)] == []


def test_the_readme_is_what_schema_and_template_make() -> None:
    done = _check(CHART)
    assert done.returncode == 0, done.stderr


def _check(chart: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(README), "--check", str(chart)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A small chart's values, schema and README template."""
    schema = {
        "properties": {
            "name": {"type": "string", "description": "Its name | alias."},
            "server": {
                "description": "The server.",
                "properties": {
                    "port": {"type": "integer", "description": "Its port."},
                    "image": {"$ref": "#/$defs/image", "description": "Its image."},
                    "mode": {"enum": ["a", "b"], "description": "How."},
                },
            },
        },
        "$defs": {"image": {"properties": {"tag": {"type": "string", "description": "The tag."}}}},
    }
    values = {"name": "x", "server": {"port": 80, "image": {"tag": ""}, "mode": "a"}}
    (tmp_path / "values.schema.json").write_text(json.dumps(schema))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "README.md.tmpl").write_text("# Chart\n\n<!-- values -->\n\nEnd.\n")
    return tmp_path


def test_a_readme_has_a_row_for_every_setting(sample: Path) -> None:
    assert SETTINGS["page"](sample) == (
        "# Chart\n\n"
        "| key | type | default | what it is |\n|---|---|---|---|\n"
        '| `name` | string | `"x"` | Its name \\| alias. |\n\n'
        "### server\nThe server.\n\n"
        "| key | type | default | what it is |\n|---|---|---|---|\n"
        "| `server.port` | integer | `80` | Its port. |\n"
        '| `server.image.tag` | string | `""` | The tag. |\n'
        '| `server.mode` | `"a"`, `"b"` | `"a"` | How. |\n\n'
        "End.\n"
    )


def test_a_readme_that_was_left_behind_is_found(sample: Path) -> None:
    assert _check(sample).returncode == 1
    (sample / "README.md").write_text(SETTINGS["page"](sample))
    assert _check(sample).returncode == 0
    (sample / "values.yaml").write_text("name: y\nserver: {port: 80}\n")
    stale = _check(sample)
    assert stale.returncode == 1
    assert "out of date: run python k8s/readme.py" in stale.stderr


def test_a_key_that_only_the_schema_knows_is_found(sample: Path) -> None:
    (sample / "values.yaml").write_text("name: x\nserver: {port: 80, image: {}, mode: a}\n")
    assert [s.path for s in SETTINGS["settings"](sample) if not s.is_set] == []
    (sample / "values.yaml").write_text("name: x\nserver: {image: {}, mode: a}\n")
    assert [s.path for s in SETTINGS["settings"](sample) if not s.is_set] == ["server.port"]
