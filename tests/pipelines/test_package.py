"""The compiled pipeline as a server gets it: its version, parameters, images and secrets."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chainsight.config import RunConfig
from components.images import pinned
from pipelines.compiled import compile_to
from pipelines.package import Package, package

Documents = list[dict[str, Any]]


@pytest.fixture(scope="session")
def compiled(config: RunConfig) -> Package:
    """The real pipeline."""
    return package(config)


def made_of(*documents: dict[str, Any]) -> Callable[[RunConfig, Path], object]:
    """A compiler that writes these documents."""
    return lambda _, path: path.write_text(yaml.safe_dump_all(documents))


SMALL: dict[str, Any] = {
    "pipelineInfo": {"name": "small"},
    "components": {
        "comp-work": {"executorLabel": "exec-work"},
        "comp-loop": {
            "dag": {"tasks": {"work": {"componentRef": {"name": "comp-work"}}}},
        },
    },
    "deploymentSpec": {
        "executors": {"exec-work": {"container": {"image": "work@sha256:" + "0" * 64}}}
    },
    "root": {
        "dag": {
            "tasks": {
                "for-loop-1": {
                    "componentRef": {"name": "comp-loop"},
                    "cachingOptions": {"enableCache": True},
                }
            }
        },
        "inputDefinitions": {
            "parameters": {
                "secret": {"parameterType": "STRING", "defaultValue": "teacher"},
                "steps": {"parameterType": "STRUCT", "defaultValue": {"count": 8.0, "rate": 0.5}},
                "unset": {"parameterType": "STRING"},
            }
        },
    },
}


def test_the_version_follows_the_tasks_and_not_the_parameters(config: RunConfig) -> None:
    before = package(config, made_of(SMALL)).version
    other = copy.deepcopy(SMALL)
    other["root"]["inputDefinitions"]["parameters"]["steps"]["defaultValue"] = {"count": 9.0}
    assert package(config, made_of(other)).version == before
    other["deploymentSpec"]["executors"]["exec-work"]["container"]["image"] = "work:2"
    assert package(config, made_of(other)).version != before
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
    assert package(config, made_of(SMALL, platform)).version != before


def test_the_version_of_the_same_pipeline_is_the_same_every_time(
    config: RunConfig, compiled: Package
) -> None:
    assert package(config, compile_to).version == compiled.version


def test_what_is_uploaded_is_what_was_compiled(compiled: Package) -> None:
    assert tuple(yaml.safe_load_all(compiled.text)) == compiled.documents


def test_the_cache_is_switched_off_in_loops_too(config: RunConfig) -> None:
    (spec,) = package(config, made_of(SMALL)).documents
    assert spec["root"]["dag"]["tasks"]["for-loop-1"]["cachingOptions"] == {}
    assert spec["components"]["comp-loop"]["dag"]["tasks"]["work"]["cachingOptions"] == {}


def test_tasks_are_those_with_a_pod(config: RunConfig, compiled: Package) -> None:
    assert package(config, made_of(SMALL)).tasks == {"work"}
    assert {"prepare", "sft", "register"} <= compiled.tasks


def test_parameters_are_the_defaults_with_whole_numbers_as_such(config: RunConfig) -> None:
    parameters = package(config, made_of(SMALL)).parameters
    assert parameters == {"secret": "teacher", "steps": {"count": 8, "rate": 0.5}}
    assert isinstance(parameters["steps"]["count"], int)


def test_the_real_parameters_are_the_sections_of_the_configuration(
    config: RunConfig, compiled: Package
) -> None:
    sections = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    for later in ("verify", "adopt", "rft", "promotion"):  # beside a run, or after it
        del sections[later]
    assert {name: compiled.parameters[name] for name in sections} == sections


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ({"secretNameParameter": {"componentInputParameter": "secret"}}, "teacher"),
        (
            {"secretNameParameter": {"componentInputParameter": "pipelinechannel--secret"}},
            "teacher",
        ),
        ({"secretNameParameter": {"runtimeValue": {"constant": "fixed"}}}, "fixed"),
        ({"secretName": "old", "secretNameParameter": {}}, "old"),
        ({"secretNameParameter": {"componentInputParameter": "unset"}}, "(parameter unset)"),
    ],
)
def test_secrets_are_listed_by_name(
    config: RunConfig, reference: dict[str, Any], name: str
) -> None:
    executors = {"exec-work": {"secretAsEnv": [reference, reference]}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    assert package(config, made_of(SMALL, platform)).secrets == {name: ["work"]}


def test_an_image_is_pinned_by_its_digest() -> None:
    assert pinned("team/b@sha256:" + "0" * 64)
    assert pinned("team/b:1.0@sha256:" + "0" * 64)
    assert not pinned("team/b:1.0")
