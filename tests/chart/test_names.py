"""Names and labels: short enough, from one template, never those of another release."""

import re
from typing import Any

import pytest
from charts import LONG_RELEASE, NAMESPACE, RIGHT, Rendered, of_kind, pods, render

LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
RECOMMENDED = {
    "helm.sh/chart",
    *(f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component")),
    "app.kubernetes.io/managed-by",
}
CHANGING = {"app.kubernetes.io/version", "helm.sh/chart", "app.kubernetes.io/managed-by"}
"""Labels that an upgrade changes: no selector may have them."""
LONGEST_SUFFIX = len("-5d9c6b7f4d-x2x7q")
"""What a Deployment adds to the name of its pods."""


@pytest.mark.parametrize("values", RIGHT)
@pytest.mark.parametrize("release", ["cs", LONG_RELEASE])
def test_names_are_labels_of_dns(release: str, values: str) -> None:
    for one in render(values, release=release):
        assert LABEL_NAME.fullmatch(one.name), one
        for name, value in one.labels.items():
            assert len(value) <= 63, (str(one), name)
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value), (one, name)


@pytest.mark.parametrize("values", RIGHT)
def test_two_releases_in_a_namespace_share_no_name(values: str) -> None:
    """But for what the user names: a LocalQueue, an account that is there already."""
    names: list[set[Any]] = [
        {
            (one.kind, one.body["metadata"].get("namespace", NAMESPACE), one.name)
            for one in render(values, release=release)
            if one.kind != "LocalQueue"
        }
        for release in ("one", "two")
    ]
    assert not names[0] & names[1]


def test_two_long_names_that_begin_alike_share_no_name() -> None:
    """Cut names keep what tells them apart."""
    names = [
        {(one.kind, one.name) for one in render("all-on", release=f"{LONG_RELEASE[:-1]}{end}")
         if one.kind != "LocalQueue"}
        for end in "xy"
    ]  # fmt: skip
    assert not names[0] & names[1]


def test_all_names_begin_with_the_one_that_is_overridden() -> None:
    objects = render("all-on", sets=("fullnameOverride=mine",))
    others = [str(one) for one in objects if not one.name.startswith("mine")]
    assert [name for name in others if not name.startswith("LocalQueue/")] == []


@pytest.mark.parametrize("values", RIGHT)
def test_every_object_bears_the_recommended_labels(values: str) -> None:
    for one in render(values):
        if "extra" not in one.source:
            assert set(one.labels) >= RECOMMENDED, one


@pytest.mark.parametrize("values", RIGHT)
def test_selectors_are_those_of_their_pods_and_never_change(values: str) -> None:
    objects = render(values)
    for one in of_kind(objects, "Deployment", "StatefulSet"):
        selector = one.body["spec"]["selector"]["matchLabels"]
        (pod,) = (pod for pod in pods(objects) if pod.owner is one)
        assert selector.items() <= pod.labels.items(), one
        assert not set(selector) & CHANGING, one
        assert selector.get("app.kubernetes.io/instance") == "cs", one


@pytest.mark.parametrize("values", RIGHT)
def test_no_selector_takes_pods_of_another(values: str) -> None:
    """Services, budgets and workloads each select the pods of one owner, and of some."""
    objects = render(values)
    templates = [pod for pod in pods(objects) if pod.owner.kind != "TrainingRuntime"]
    for one in of_kind(objects, "Service", "Deployment", "StatefulSet", "PodDisruptionBudget"):
        selector = _selector(one)
        owners = {str(p.owner) for p in templates if selector.items() <= p.labels.items()}
        assert len(owners) == 1, (str(one), owners)


def _selector(one: Rendered) -> Any:
    selector = one.body["spec"]["selector"]
    return selector if one.kind == "Service" else selector["matchLabels"]


@pytest.mark.parametrize("values", RIGHT)
def test_services_lead_to_ports_that_are_there(values: str) -> None:
    objects = render(values)
    for service in of_kind(objects, "Service"):
        chosen = [p for p in pods(objects) if _selector(service).items() <= p.labels.items()]
        ports = [port for pod in chosen for c in pod.containers for port in c.get("ports") or ()]
        known = {port["containerPort"] for port in ports} | {port.get("name") for port in ports}
        for port in service.body["spec"]["ports"]:
            assert port.get("targetPort", port["port"]) in known, service


@pytest.mark.parametrize("values", RIGHT)
def test_monitors_and_ingresses_lead_to_services_that_are_there(values: str) -> None:
    objects = render(values)
    services = {one.name: one for one in of_kind(objects, "Service")}
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor.body["spec"]["selector"]["matchLabels"]
        chosen = [one for one in services.values() if wanted.items() <= one.labels.items()]
        ports = {port["name"] for one in chosen for port in one.body["spec"]["ports"]}
        assert {end["port"] for end in monitor.body["spec"]["endpoints"]} <= ports, monitor
        assert len(chosen) == 1, monitor
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress.body["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = services[path["backend"]["service"]["name"]]
                port = path["backend"]["service"]["port"]
                ports = service.body["spec"]["ports"]
                known = {one["port"] for one in ports} | {one.get("name") for one in ports}
                assert next(iter(port.values())) in known, ingress
