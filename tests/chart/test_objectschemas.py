"""The schemas that rendered objects are held against: good ones pass, bad ones do not."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from objectschemas import faults, newest_versions

ROOT = Path(__file__).parents[2]
VERSION = newest_versions()[0]
DOCUMENTED = {
    block["kind"]: block
    for block in map(
        yaml.safe_load,
        re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/trainjob.md").read_text(), re.DOTALL),
    )
}
GOOD: dict[str, dict[str, Any]] = {
    "TrainingRuntime": DOCUMENTED["TrainingRuntime"],
    "LocalQueue": {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "LocalQueue",
        "metadata": {"name": "training"},
        "spec": {"clusterQueue": "gpus"},
    },
    "ServiceMonitor": {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "serve"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "endpoints": [{"port": "http", "path": "/metrics", "interval": "30s"}],
        },
    },
    "PrometheusRule": {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "rules"},
        "spec": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "up == 0"}]}]},
    },
    "ConfigMap": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {}},
}
BAD: list[tuple[str, str, Any]] = [
    ("TrainingRuntime", "apiVersion", "trainer.kubeflow.org/v1beta1"),
    ("TrainingRuntime", "spec.podSpecOverrides", []),
    ("TrainingRuntime", "spec.template.spec.failurePolicy.maxRestart", 5),
    ("TrainingRuntime", "spec.template.spec.failurePolicy.maxRestarts", "many"),
    ("TrainingRuntime", "spec.mlPolicy.torch.numProc", 1),
    ("LocalQueue", "apiVersion", "kueue.x-k8s.io/v1"),
    ("LocalQueue", "spec.clusterQueue", "not_a_name"),
    ("LocalQueue", "spec.queue", "gpus"),
    ("ServiceMonitor", "spec.endpoint", []),
    ("ServiceMonitor", "spec.endpoints.0.interval", "half a minute"),
    ("ServiceMonitor", "spec.endpoints.0.path", "metrics"),
    ("PrometheusRule", "spec.groups.0.rules.0.record", "both"),
    ("PrometheusRule", "spec.groups.0.rules.0.for", "5 minutes"),
    ("ConfigMap", "dada", {}),
    ("ConfigMap", "data.number", 1),
    ("ConfigMap", "kind", "ConfigMaps"),
]


@pytest.mark.parametrize("version", newest_versions())
@pytest.mark.parametrize("kind", GOOD)
def test_a_good_object_passes(kind: str, version: str) -> None:
    assert faults(GOOD[kind], version) == []


@pytest.mark.parametrize(("kind", "path", "value"), BAD)
def test_a_field_that_is_unknown_or_wrong_is_a_fault(kind: str, path: str, value: Any) -> None:
    body: Any = copy.deepcopy(GOOD[kind])
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = body
    for parent in parents:
        place = place[parent]
    place[last] = value
    assert faults(body, VERSION)


def test_a_kind_without_a_schema_is_a_fault_that_says_what_to_do() -> None:
    body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}}
    assert faults(body, VERSION) == [
        f"no schema for example.com/v1 Thing in Kubernetes {VERSION}: add one to crds/"
    ]


def test_the_versions_are_three_minors_in_a_row() -> None:
    minors = [int(version.partition(".")[2]) for version in newest_versions()]
    assert minors == [minors[0], minors[0] - 1, minors[0] - 2]
