"""Rules and dashboard: they parse, and ask for figures that somebody exposes."""

import json
import re
from typing import Any

import pytest
import yaml
from charts import ROOT, of_kind, render

FIGURE = re.compile(r"\b(?:chainsight|mlflow)_[a-z_]+")
EXPOSING = ("src/chainsight/promotion", "src/chainsight/serving")
MLFLOW = {
    "mlflow_http_request_total",
    *(f"mlflow_http_request_duration_seconds_{part}" for part in ("bucket", "sum", "count")),
}
"""What prometheus-flask-exporter counts, under MLflow's prefix."""


def _dashboard() -> Any:
    found = [
        json.loads(data)
        for one in of_kind(render("all-on"), "ConfigMap")
        if "grafana_dashboard" in one.labels
        for data in one.body["data"].values()
    ]
    assert len(found) == 1
    return found[0]


def _queries(panels: list[Any]) -> list[str]:
    inner = [query for panel in panels for query in _queries(panel.get("panels", []))]
    return inner + [t["expr"] for panel in panels for t in panel.get("targets", [])]


def _rules() -> list[Any]:
    (one,) = of_kind(render("all-on"), "PrometheusRule")
    return [rule for group in one.body["spec"]["groups"] for rule in group["rules"]]


def test_every_panel_asks_something_and_has_a_title_and_an_id_of_its_own() -> None:
    dashboard = _dashboard()
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert dashboard["title"]
    assert all(panel["title"] and panel["targets"] for panel in panels)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_figure_is_exposed_by_somebody() -> None:
    """Ours by the reconciler or the server; the names stand in their source, whole or without
    the prefix."""
    source = "".join(
        path.read_text(encoding="utf-8")
        for folder in EXPOSING
        for path in sorted((ROOT / folder).glob("*.py"))
    )
    asked = _queries(_dashboard()["panels"]) + [str(rule["expr"]) for rule in _rules()]
    figures = {name for query in asked for name in FIGURE.findall(query)} - MLFLOW
    assert figures
    assert {name for name in figures if not _exposed(name, source)} == set()


def _exposed(name: str, source: str) -> bool:
    short = re.sub(r"^chainsight_(serving_)?", "", re.sub(r"_(bucket|sum|count)$", "", name))
    return f'"{short}"' in source or f"chainsight_{short}" in source or name in source


@pytest.mark.parametrize("part", ["summary", "description"])
def test_every_alert_says_what_it_means_and_what_to_do(part: str) -> None:
    rules = _rules()
    assert {rule["labels"]["severity"] for rule in rules} <= {"critical", "warning"}
    assert all(re.fullmatch(r".{20,}\.", rule["annotations"][part].strip()) for rule in rules)
    assert all(
        "{{" not in yaml.safe_dump(rule) or "$" in rule["annotations"][part] for rule in rules
    )
