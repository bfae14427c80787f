"""Roles: what each account may do, and that it is no more."""

import re
from typing import Any

import pytest
import yaml
from charts import NAMESPACE, RIGHT, ROOT, Rendered, of_kind, render

DANGEROUS = {"escalate", "bind", "impersonate", "*"}
INDIRECT = {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "*"}
"""Resources that give more than they seem to."""


def _rules(objects: tuple[Rendered, ...]) -> list[tuple[Rendered, Any]]:
    return [(role, rule) for role in of_kind(objects, "Role") for rule in role.body["rules"]]


@pytest.mark.parametrize("values", RIGHT)
def test_nothing_is_granted_beyond_a_namespace(values: str) -> None:
    assert of_kind(render(values), "ClusterRole", "ClusterRoleBinding") == []


@pytest.mark.parametrize("values", RIGHT)
def test_no_rule_is_a_wildcard_or_a_way_round(values: str) -> None:
    for role, rule in _rules(render(values)):
        assert not set(rule["verbs"]) & DANGEROUS, role
        assert not set(rule["resources"]) & INDIRECT, role
        assert "*" not in rule["apiGroups"], role
        for resource in rule["resources"]:
            assert resource != "pods" or not set(rule["verbs"]) - {"get", "list", "watch"}, role


@pytest.mark.parametrize("values", RIGHT)
def test_nobody_may_read_secrets(values: str) -> None:
    """Keys come to pods by reference, which needs no right."""
    objects = render(values, sets=("runner.launcherSecrets:=[]",))
    assert [str(role) for role, rule in _rules(objects) if "secrets" in rule["resources"]] == []


def test_the_launcher_may_read_the_secrets_that_are_named_and_no_other() -> None:
    objects = render("default", sets=('runner.launcherSecrets:=["one","two"]',))
    (rule,) = (rule for _, rule in _rules(objects) if "secrets" in rule["resources"])
    assert rule["verbs"] == ["get"]
    assert rule["resourceNames"] == ["one", "two"]
    assert rule["resources"] == ["secrets"]


def test_the_reconciler_may_change_the_deployment_of_serving_alone() -> None:
    objects = render("default")
    (watcher,) = (one for one in of_kind(objects, "Role") if one.component == "watcher")
    serving = next(one for one in of_kind(objects, "Deployment") if one.component == "serving")
    changing = [r for r in watcher.body["rules"] if set(r["verbs"]) - {"get", "list", "watch"}]
    assert [set(rule["verbs"]) for rule in changing] == [{"get", "patch"}] or [
        set(rule["verbs"]) - {"get"} for rule in changing
    ] == [{"patch"}]
    for rule in changing:
        assert rule["resources"] == ["deployments"]
        assert rule["resourceNames"] == [serving.name]


def test_the_launcher_of_trainjobs_has_the_rights_that_are_documented() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/trainjob.md").read_text(), re.DOTALL)
    documented = next(b for b in map(yaml.safe_load, blocks) if b["kind"] == "Role")
    granted = _grants([rule for _, rule in _rules(render("all-on"))])
    assert _grants(documented["rules"]) <= granted


def test_without_a_trainer_nobody_may_make_trainjobs() -> None:
    objects = render("default", sets=("trainer.enabled=false",))
    assert not [str(role) for role, rule in _rules(objects) if "trainjobs" in rule["resources"]]


def _grants(rules: list[Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("values", RIGHT)
def test_bindings_bind_roles_and_accounts_that_are_there(values: str) -> None:
    objects = render(values)
    known = {
        (one.kind, one.body["metadata"].get("namespace", NAMESPACE), one.name) for one in objects
    }
    for one in of_kind(objects, "RoleBinding"):
        place = one.body["metadata"].get("namespace", NAMESPACE)
        reference = one.body["roleRef"]
        assert (reference["kind"], place, reference["name"]) in known, one
        for subject in one.body["subjects"]:
            account = ("ServiceAccount", subject.get("namespace", place), subject["name"])
            assert account in known or "runner" in one.component, (str(one), account)


@pytest.mark.parametrize("values", RIGHT)
def test_accounts_mount_no_token_by_themselves(values: str) -> None:
    for one in of_kind(render(values), "ServiceAccount"):
        if one.component != "runner":  # Argo's executor in each step reports through the API
            assert one.body.get("automountServiceAccountToken") is False, one
