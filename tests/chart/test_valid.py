"""Every rendered object is one that the API server takes, in the newest versions of Kubernetes."""

import pytest
from charts import LONG_RELEASE, NAMESPACE, RIGHT, of_kind, pods, render
from objectschemas import faults, newest_versions
from podsecurity import violations

TRYOUT = ("postgres.enabled=true", "s3.enabled=true", "mlflow.replicas=1")


@pytest.mark.parametrize("version", newest_versions())
@pytest.mark.parametrize("values", RIGHT)
def test_every_object_is_valid(values: str, version: str) -> None:
    found = {str(one): wrong for one in render(values) if (wrong := faults(one.body, version))}
    assert found == {}


@pytest.mark.parametrize("values", RIGHT)
def test_no_object_is_made_twice(values: str) -> None:
    keys = [
        (one.kind, one.body["metadata"].get("namespace", NAMESPACE), one.name)
        for one in render(values)
    ]
    assert sorted(set(keys)) == sorted(keys)


def test_all_on_turns_on_all_kinds() -> None:
    """A kind that no values file renders would be checked by nobody."""
    kinds = {one.kind for values in RIGHT for one in render(values)}
    assert kinds >= {
        *("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "LocalQueue"),
        *("NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "Role", "RoleBinding"),
        *("Service", "ServiceAccount", "ServiceMonitor", "TrainingRuntime"),
    }


def test_a_release_for_trying_out_is_valid_and_admitted() -> None:
    """It makes Secrets of its own, with passwords that nobody chose."""
    objects = render("default", sets=TRYOUT)
    version = newest_versions()[0]
    assert {str(one): w for one in objects if (w := faults(one.body, version))} == {}
    assert [broken for pod in pods(objects) if (broken := violations(pod.spec))] == []
    secrets = of_kind(objects, "Secret")
    values = [
        v for one in secrets for v in (one.body.get("stringData") or one.body["data"]).values()
    ]
    assert secrets
    assert all(len(value) >= 5 for value in values)


def test_a_long_release_name_changes_no_validity() -> None:
    version = newest_versions()[0]
    objects = render("all-on", release=LONG_RELEASE)
    assert {str(one): w for one in objects if (w := faults(one.body, version))} == {}
