"""MLflow's registry in memory: as much of its client as `Registry` asks for, and as strict.

For the many tests in which only the order of steps matters; those of the commands, of promotions
and of races run on MLflow's own, in SQLite.
"""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

from chainsight.tracking import Registry


@dataclass
class Model:
    versions: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    last: int = 0


class MemoryClient:
    """Stands for `mlflow.MlflowClient`."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()

    def create_registered_model(self, name: str) -> None:
        self._models.setdefault(name, Model())

    def create_model_version(
        self, name: str, *, source: str, run_id: str | None, tags: dict[str, str], description: str
    ) -> Any:
        with self._lock:
            model = self._models[name]
            model.last += 1
            made = SimpleNamespace(
                name=name, version=str(model.last), source=source, run_id=run_id, tags=dict(tags),
                description=description,
            )  # fmt: skip
            model.versions[made.version] = made
            return made

    def search_model_versions(self, where: str, max_results: int) -> list[Any]:
        model = self._models.get(where.split("'")[1])
        return list(model.versions.values()) if model else []

    def search_registered_models(self, where: str) -> list[Any]:
        model = self._models.get(where.split("'")[1])
        return [SimpleNamespace(aliases=dict(model.aliases))] if model else []

    def get_model_version(self, name: str, number: str) -> Any:
        model = self._models.get(name)
        if model is None or number not in model.versions:
            raise MlflowException(f"{name} {number} not found", RESOURCE_DOES_NOT_EXIST)
        return model.versions[number]

    def get_model_version_download_uri(self, name: str, number: str) -> str:
        return str(self.get_model_version(name, number).source)

    def set_model_version_tag(self, name: str, number: str, key: str, value: str) -> None:
        self.get_model_version(name, number).tags[key] = value

    def delete_model_version(self, name: str, number: str) -> None:
        self.get_model_version(name, number)
        model = self._models[name]
        del model.versions[number]
        model.aliases = {alias: at for alias, at in model.aliases.items() if at != number}

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        if alias == "latest":
            raise MlflowException("reserved", INVALID_PARAMETER_VALUE)
        self.get_model_version(name, number)
        self._models[name].aliases[alias] = number

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._models[name].aliases.pop(alias, None)


class MemoryRegistry(Registry):
    """The real `Registry` on a client in memory."""

    def __init__(self) -> None:
        self.uri = "memory:"
        self._client = MemoryClient()
