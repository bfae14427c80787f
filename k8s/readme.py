"""README.md.tmpl, values.schema.json and values.yaml -> README.md of the chart.

    python k8s/readme.py [--check] [CHART]

In the template the line `<!-- values -->` is where the tables go: one a top-level key, a row a
setting, with the description of the schema and the default of values.yaml. `--check` writes
nothing and fails where README.md is not what would be written.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "chainsight"
MARK = "<!-- values -->"
LONGEST = 60
"""Characters of a default that still go into a table."""

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A key of values.yaml, as the schema describes it."""

    path: str
    schema: Schema
    default: Any
    is_set: bool
    """Whether values.yaml has it."""
    is_group: bool
    """Whether it only holds other settings."""


def settings(chart: Path) -> Iterator[Setting]:
    """Every key of the schema with its default, groups before what is in them."""
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    yield from _settings(schema, values, schema, "")


def _settings(schema: Schema, values: Any, root: Schema, prefix: str) -> Iterator[Setting]:
    for name, given in (schema.get("properties") or {}).items():
        part = resolved(given, root)
        is_set = isinstance(values, dict) and name in values
        default = values[name] if is_set else None
        inner = part.get("properties") and (default is None or isinstance(default, dict))
        is_group = bool(inner) and default != {} and (is_set and default is not None)
        yield Setting(f"{prefix}{name}", part, default, is_set, is_group)
        if is_group:
            yield from _settings(part, default, root, f"{prefix}{name}.")


def resolved(schema: Schema, root: Schema) -> Schema:
    """A schema with its `$ref` followed; what stands beside the reference wins."""
    if "$ref" not in schema:
        return schema
    target: Any = root
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**resolved(target, root), **{k: v for k, v in schema.items() if k != "$ref"}}


def page(chart: Path) -> str:
    """What README.md has to be."""
    template = (chart / "README.md.tmpl").read_text(encoding="utf-8")
    if template.count(MARK) != 1:
        sys.exit(f"{chart / 'README.md.tmpl'}: the line {MARK} must stand in it once")
    return template.replace(MARK, "\n\n".join(_tables(chart)))


def _tables(chart: Path) -> Iterator[str]:
    groups: dict[str, list[Setting]] = {}
    for setting in settings(chart):
        groups.setdefault(setting.path.partition(".")[0], []).append(setting)
    single = [group[0] for group in groups.values() if not group[0].is_group]
    if single:
        yield _table(single)
    for name, group in groups.items():
        if group[0].is_group:
            rows = [setting for setting in group[1:] if not setting.is_group]
            yield f"### {name}\n{group[0].schema.get('description', '')}\n\n{_table(rows)}"


def _table(rows: list[Setting]) -> str:
    lines = [
        f"| `{row.path}` | {_kind(row.schema)} | {_default(row)} | {_words(row)} |" for row in rows
    ]
    return "\n".join(["| key | type | default | what it is |", "|---|---|---|---|", *lines])


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "any")
    if "enum" in schema or "const" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _default(row: Setting) -> str:
    if not row.is_set:
        return ""
    text = json.dumps(row.default, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|") if len(text) <= LONGEST else "see `values.yaml`"


def _words(row: Setting) -> str:
    return str(row.schema.get("description", "")).replace("\n", " ").replace("|", "\\|")


def main() -> int:
    """Write the README, or say that it is out of date."""
    parser = argparse.ArgumentParser(description="README.md of the chart")
    parser.add_argument("chart", type=Path, nargs="?", default=CHART)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    target, text = given.chart / "README.md", page(given.chart)
    if not given.check:
        target.write_text(text, encoding="utf-8")
    elif not target.is_file() or target.read_text(encoding="utf-8") != text:
        print(f"{target} is out of date: run python k8s/readme.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
