"""The compiled pipeline as a server gets it: its version, parameters, images and secrets."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from chainsight import __version__
from chainsight.config import RunConfig
from pipelines.compiled import compile_to

Document = dict[str, Any]
Compile = Callable[[RunConfig, Path], object]
"""Writes a pipeline for a configuration to a file."""
CHANNEL = "pipelinechannel--"  # what KFP puts before a pipeline's parameter inside a component


@dataclass(frozen=True)
class Package:
    """A compiled pipeline: the IR and, after it, what it asks of Kubernetes."""

    documents: tuple[Document, ...]

    @property
    def name(self) -> str:
        """Name of the pipeline, such as chainsight-train."""
        return str(self.documents[0]["pipelineInfo"]["name"])

    @property
    def description(self) -> str:
        """What the pipeline is for."""
        return str(self.documents[0]["pipelineInfo"].get("description", ""))

    @property
    def version(self) -> str:
        """Name of the pipeline's version: the same for the same tasks, images and pods.

        The parameters' defaults are left out of the digest: a run brings its own parameters, so
        another configuration is another run of the same version. (What a parameter cannot hold
        on Kubeflow, such as labels, retries, shards and the run's name in the pods' labels, is
        part of the tasks and makes another version.)
        """
        kept = [self._without_defaults(), *self.documents[1:]]
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return f"{__version__}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def text(self) -> str:
        """The package as it is uploaded."""
        return yaml.safe_dump_all(self.documents, sort_keys=True)

    @property
    def parameters(self) -> dict[str, Any]:
        """What a run of this configuration is given."""
        given = [(name, p["defaultValue"]) for name, p in self._inputs() if "defaultValue" in p]
        return {name: _plain(value) for name, value in given}

    @property
    def images(self) -> dict[str, str]:
        """The image of each task."""
        found = self.documents[0]["deploymentSpec"]["executors"]
        return {_task(name): e["container"]["image"] for name, e in found.items()}

    @property
    def secrets(self) -> dict[str, list[str]]:
        """Names of the secrets, each with the tasks that refer to it."""
        found = defaultdict(list)
        for name, executor in self._platform().items():
            for secret in executor.get("secretAsEnv", []) + executor.get("secretAsVolume", []):
                found[self._secret_name(secret)].append(_task(name))
        return {name: sorted(set(found[name])) for name in sorted(found)}

    @property
    def tasks(self) -> frozenset[str]:
        """Names of the tasks that have a pod: those that are worth following."""
        components = self.documents[0]["components"]
        return frozenset(
            name
            for name, task in _tasks(self.documents[0])
            if "executorLabel" in components[task["componentRef"]["name"]]
        )

    def _inputs(self) -> list[tuple[str, Document]]:
        root = self.documents[0]["root"]
        return list(root.get("inputDefinitions", {}).get("parameters", {}).items())

    def _without_defaults(self) -> Document:
        spec: Document = json.loads(json.dumps(self.documents[0]))
        for parameter in spec["root"].get("inputDefinitions", {}).get("parameters", {}).values():
            parameter.pop("defaultValue", None)
        return spec

    def _platform(self) -> Document:
        executors: Document = {}
        for document in self.documents[1:]:
            kubernetes = document.get("platforms", {}).get("kubernetes", {})
            executors |= kubernetes.get("deploymentSpec", {}).get("executors", {})
        return executors

    def _secret_name(self, secret: Document) -> str:
        by_parameter = secret.get("secretNameParameter", {})
        if "componentInputParameter" in by_parameter:
            parameter = by_parameter["componentInputParameter"].removeprefix(CHANNEL)
            return str(self.parameters.get(parameter, f"(parameter {parameter})"))
        constant = by_parameter.get("runtimeValue", {}).get("constant")
        return str(constant or secret["secretName"])


def package(config: RunConfig, compile_to: Compile = compile_to) -> Package:
    """Compile the pipeline for `config`, with KFP's cache off in every task.

    KFP's cache compares names of images and ids of artifacts, not content; the store is our
    cache. It is switched off here because the client ignores `enable_caching` for a run of an
    uploaded version.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compile_to(config, path)
        documents = tuple(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for _, task in _tasks(documents[0]):
        task["cachingOptions"] = {}
    return Package(documents)


def _tasks(spec: Document) -> Iterator[tuple[str, Document]]:
    """Every task, those inside loops and exit handlers too."""
    for component in (spec["root"], *spec["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).items()


def _plain(value: Any) -> Any:
    """Whole numbers as such: the compiler writes every number as a float."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _task(executor: str) -> str:
    return executor.removeprefix("exec-")
