"""Hooks: what they need is there when they run, they end, and they can run again."""

from collections.abc import Iterator

import pytest
from charts import NAMESPACE, RIGHT, Body, Pod, Rendered, of_kind, pods, render

EARLY = {"pre-install", "pre-upgrade"}
Key = tuple[str, str]


def _needs(pod: Pod) -> Iterator[Key]:
    """What a pod cannot start without: its account, Secrets, ConfigMaps, claims."""
    yield "ServiceAccount", pod.spec.get("serviceAccountName", "default")
    for volume in pod.spec.get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            yield from _references(source)
    for container in pod.containers:
        for source in container.get("envFrom") or ():
            yield from _references(source)
        for variable in container.get("env") or ():
            yield from _references(variable.get("valueFrom") or {})


REFERENCES = {
    **dict.fromkeys(("configMap", "configMapRef", "configMapKeyRef"), "ConfigMap"),
    **dict.fromkeys(("secret", "secretRef", "secretKeyRef"), "Secret"),
    "persistentVolumeClaim": "PersistentVolumeClaim",
}


def _references(source: Body) -> Iterator[Key]:
    """The objects that a volume or variable comes from, but for those that may be missing."""
    for key, kind in REFERENCES.items():
        given = source.get(key)
        if given is not None and not given.get("optional"):
            yield kind, next(given[n] for n in ("name", "secretName", "claimName") if n in given)


def _key(one: Rendered) -> Key:
    return one.kind, one.name


@pytest.mark.parametrize("values", RIGHT)
def test_a_hook_runs_after_what_it_needs(values: str) -> None:
    """The release's own objects are made after pre-install: such a hook needs other hooks."""
    objects = render(values)
    made = {_key(one): one for one in objects}
    for pod in pods(objects):
        for moment in pod.owner.hooks & EARLY:
            for need in _needs(pod):
                if need in made:
                    assert moment in made[need].hooks, (str(pod.owner), moment, need)
                    assert made[need].weight < pod.owner.weight, (str(pod.owner), need)


@pytest.mark.parametrize("values", RIGHT)
def test_whatever_a_pod_needs_is_made_or_is_named_in_the_values(values: str) -> None:
    """A ConfigMap or account that nobody makes is a slip; Secrets are the user's."""
    objects = render(values)
    made = {_key(one) for one in objects}
    for pod in pods(objects):
        for need in _needs(pod):
            kind, name = need
            if kind in ("ServiceAccount", "ConfigMap") and name != "default":
                assert need in made, (str(pod.owner), need)


@pytest.mark.parametrize("values", RIGHT)
def test_nothing_of_the_release_leans_on_what_a_hook_throws_away(values: str) -> None:
    objects = render(values)
    made = {_key(one): one for one in objects}
    for pod in pods(objects):
        if pod.owner.hooks:
            continue
        for need in _needs(pod):
            policy = (
                made[need].annotations.get("helm.sh/hook-delete-policy", "") if need in made else ""
            )
            assert "hook-succeeded" not in policy, (str(pod.owner), need)


@pytest.mark.parametrize("values", RIGHT)
def test_jobs_end_and_can_be_made_again(values: str) -> None:
    for job in of_kind(render(values), "Job"):
        spec = job.body["spec"]
        assert spec.get("activeDeadlineSeconds"), job
        assert spec.get("backoffLimit") is not None, job
        assert spec["template"]["spec"]["restartPolicy"] in ("Never", "OnFailure"), job
        if job.hooks:
            assert "before-hook-creation" in job.annotations["helm.sh/hook-delete-policy"], job


def test_migrations_run_before_the_servers_and_the_upload_after_all() -> None:
    jobs = {job.name: job for job in of_kind(render("default"), "Job")}
    moments = {name: job.hooks for name, job in jobs.items()}
    (migration,) = (name for name in moments if "migrat" in name)
    (upload,) = (name for name in moments if "upload" in name)
    assert moments[migration] == EARLY
    assert moments[upload] == {"post-install", "post-upgrade"}


@pytest.mark.parametrize("values", RIGHT)
def test_pods_are_where_what_they_need_is(values: str) -> None:
    """An object in another namespace cannot be mounted."""
    objects = render(values)
    places: dict[Key, set[str]] = {}
    for one in objects:
        place = one.body["metadata"].get("namespace", NAMESPACE)
        places.setdefault(_key(one), set()).add(place)
    for pod in pods(objects):
        place = pod.owner.body["metadata"].get("namespace", NAMESPACE)
        for need in _needs(pod):
            assert need not in places or place in places[need], (str(pod.owner), need)
