"""What pods may do, which images they run, and that no secret is rendered."""

import json
import re
from typing import Any

import pytest
from charts import (
    DIGEST,
    DIGESTS,
    NO_DIGESTS,
    RIGHT,
    TAGS,
    Pod,
    of_kind,
    pods,
    render,
    template,
    text,
)
from podsecurity import violations

SECRET_NAME = re.compile(r"(KEY|PASSWORD|SECRET|TOKEN|CREDENTIALS?)(_ID)?$")
TRIES = ("postgres.enabled=false", "s3.enabled=false")
"""What is for trying out makes its own Secrets; nothing else may."""


def _all() -> list[tuple[str, Pod]]:
    return [(values, pod) for values in RIGHT for pod in pods(render(values))]


def test_every_pod_is_admitted_by_pod_security_restricted() -> None:
    found = {
        f"{values}: {pod.owner}": broken
        for values, pod in _all()
        if (broken := violations(pod.spec))
    }
    assert found == {}


def test_every_container_has_a_read_only_root() -> None:
    for values, pod in _all():
        for container in pod.containers:
            context = container.get("securityContext") or {}
            assert context.get("readOnlyRootFilesystem") is True, (values, str(pod.owner))


def test_every_container_says_what_it_takes() -> None:
    """Those of a TrainingRuntime get theirs from the TrainJob."""
    for values, pod in _all():
        if pod.owner.kind == "TrainingRuntime":
            continue
        for container in pod.containers:
            resources = container.get("resources") or {}
            for bound in ("requests", "limits"):
                given = set(resources.get(bound) or {})
                assert {"cpu", "memory", "ephemeral-storage"} <= given, (
                    values,
                    str(pod.owner),
                    container["name"],
                    bound,
                )


def test_every_container_runs_as_our_images_user() -> None:
    """Above the users of any node; PostgreSQL's image has its own."""
    for pod in pods(render("default")) + pods(render("all-on")):
        if "postgres" not in pod.owner.name:
            assert pod.spec["securityContext"]["runAsUser"] == 10001, str(pod.owner)


def test_on_openshift_the_project_chooses_the_user() -> None:
    for pod in pods(render("default", sets=("openshift=true",))):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(pod.spec["securityContext"])


def test_only_the_reconciler_gets_a_token_of_the_api() -> None:
    having = set()
    for values, pod in _all():
        assert "automountServiceAccountToken" in pod.spec, (values, str(pod.owner))
        if pod.spec["automountServiceAccountToken"]:
            having.add(pod.owner.component)
            assert pod.spec["serviceAccountName"] not in ("", "default")
    assert having <= {"watcher"}, having


def test_every_image_is_named_by_its_digest_where_one_is_given() -> None:
    """A digest overrides the tag."""
    for sets in (DIGESTS, (*TAGS, *DIGESTS)):
        images = _images(sets)
        assert images
        assert [
            image for image in images if not re.fullmatch(rf"[^@:]+(:\d+)?[^@:]*@{DIGEST}", image)
        ] == []


def test_a_tag_names_an_image_that_has_no_digest() -> None:
    assert {image.rpartition(":")[2] for image in _images((*NO_DIGESTS, *TAGS))} == {"1.2.3"}


def _images(sets: tuple[str, ...]) -> set[str]:
    """Of the pods, and those that ConfigMaps hand to pipelines."""
    objects = render("all-on", sets=sets)
    images = {c["image"] for pod in pods(objects) for c in pod.containers if "image" in c}
    for one in of_kind(objects, "ConfigMap"):
        for name, data in (one.body.get("data") or {}).items():
            if name.endswith("images.lock.json"):
                images |= {entry["image"] for entry in json.loads(data)["images"].values()}
    return images


def test_the_prefix_stands_before_our_own_images_alone() -> None:
    images = _images((*DIGESTS, "images.prefix=registry.example.com/team/"))
    ours = {image for image in images if "chainsight-" in image}
    assert ours
    assert all(image.startswith("registry.example.com/team/chainsight-") for image in ours)
    assert not [image for image in images - ours if image.startswith("registry.example.com")]


def test_tags_are_refused_where_digests_are_required() -> None:
    done = template("default", sets=("images.requireDigests=true",))
    assert done.returncode != 0
    assert "digest" in done.stderr
    assert template("default", sets=("images.requireDigests=true", *DIGESTS)).returncode == 0


@pytest.mark.parametrize("values", RIGHT)
def test_no_secret_is_made_but_for_trying_out(values: str) -> None:
    assert of_kind(render(values, sets=TRIES), "Secret") == []


@pytest.mark.parametrize("values", RIGHT)
def test_secret_variables_come_by_reference(values: str) -> None:
    for pod in pods(render(values)):
        for container in pod.containers:
            for variable in container.get("env") or ():
                if SECRET_NAME.search(variable["name"]):
                    assert "value" not in variable or variable["value"] in ("", "true", "false"), (
                        str(pod.owner),
                        variable["name"],
                    )


@pytest.mark.parametrize("values", RIGHT)
def test_no_address_bears_a_password(values: str) -> None:
    for one in render(values):
        assert not re.search(
            r"://[^/\s:@$]+:(?!password@)[^$(\s@/][^\s@/]*@", text(dict(one.body))
        ), one


@pytest.mark.parametrize("values", RIGHT)
def test_what_must_be_written_to_is_mounted_and_bounded(values: str) -> None:
    """A read-only root has /tmp. On disk the limit of ephemeral storage is the bound."""
    for pod in pods(render(values)):
        if pod.owner.kind == "TrainingRuntime":
            continue
        for container in pod.spec["containers"]:
            mounts = {mount["mountPath"] for mount in container.get("volumeMounts") or ()}
            assert "/tmp" in mounts, (str(pod.owner), container["name"])
        for volume in pod.spec.get("volumes") or ():
            if (volume.get("emptyDir") or {}).get("medium") == "Memory":
                assert "sizeLimit" in volume["emptyDir"], (str(pod.owner), volume["name"])


@pytest.mark.parametrize("values", RIGHT)
def test_mounts_are_of_volumes_that_are_there(values: str) -> None:
    for pod in pods(render(values)):
        volumes = {volume["name"] for volume in pod.spec.get("volumes") or ()}
        claims = pod.owner.body["spec"].get("volumeClaimTemplates") or ()
        volumes |= {claim["metadata"]["name"] for claim in claims}
        for container in pod.containers:
            mounts: list[Any] = container.get("volumeMounts") or []
            assert {mount["name"] for mount in mounts} <= volumes, str(pod.owner)
            assert len({m["mountPath"] for m in mounts}) == len(mounts), str(pod.owner)
