"""The optional teacher of the release: vLLM, its weights, and who is told where it is."""

from typing import Any

import pytest
from charts import TAGS, of_kind, pods, render, template, the

ON = ("teacher.server.enabled=true", "teacher.server.model=qwen/qwen-vl", *TAGS)


def container(*sets: str) -> dict[str, Any]:
    objects = render("default", sets=(*ON, *sets))
    (pod,) = (p for p in pods(objects) if p.owner.component == "teacher")
    (found,) = pod.spec["containers"]
    return dict(found)


def test_there_is_no_teacher_unless_it_is_asked_for() -> None:
    assert not [one for one in render("default") if one.component == "teacher"]


def test_vllm_serves_the_model_over_all_gpus_under_the_name_that_is_asked_for() -> None:
    found = container("teacher.server.gpus=4", "teacher.server.servedName=our-teacher")
    assert found["command"] == ["vllm", "serve", "qwen/qwen-vl"]
    assert {"--served-model-name=our-teacher", "--tensor-parallel-size=4"} <= set(found["args"])
    for kind in ("requests", "limits"):
        assert found["resources"][kind]["nvidia.com/gpu"] == "4"


def test_the_weights_outlive_the_pod() -> None:
    objects = render("default", sets=ON)
    claim = the(objects, "PersistentVolumeClaim", "teacher")
    (pod,) = (p for p in pods(objects) if p.owner.component == "teacher")
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    assert volumes["weights"]["persistentVolumeClaim"]["claimName"] == claim.name
    variables = {v["name"]: v.get("value") for v in container()["env"]}
    assert variables["HF_HOME"].startswith("/weights/")


def test_weights_that_are_there_are_neither_claimed_nor_downloaded() -> None:
    given = ("teacher.server.download:=false", "teacher.server.existingClaim=weights")
    objects = render("default", sets=(*ON, *given))
    assert not of_kind(objects, "PersistentVolumeClaim")
    variables = {v["name"]: v.get("value") for v in container(*given)["env"]}
    assert variables["HF_HUB_OFFLINE"] == "1"


def test_a_gated_models_token_comes_from_a_secret_and_the_teachers_keys_stay_away() -> None:
    variables = container("teacher.server.existingSecret.name=hub")["env"]
    secrets = [v["valueFrom"]["secretKeyRef"] for v in variables if "valueFrom" in v]
    assert secrets == [{"name": "hub", "key": "HF_TOKEN", "optional": True}]
    assert "HF_TOKEN" not in str(container())


@pytest.mark.parametrize(
    ("sets", "way_out"),
    [
        (("teacher.server.model=",), "teacher.server.model is empty"),
        (("teacher.server.download:=false",), "teacher.server.existingClaim"),
    ],
)
def test_what_cannot_serve_is_refused(sets: tuple[str, ...], way_out: str) -> None:
    done = template("default", sets=(*ON, *sets))
    assert done.returncode != 0
    assert way_out in done.stderr
