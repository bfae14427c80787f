"""Is a rendered object what the API server would take? Closed schemas: an unknown field is a fault.

Kubernetes' own kinds: the package kubernetes-validate, strict, per minor version. TrainJob and
TrainingRuntime: the models of kubeflow-trainer-api, closed. Other custom resources: crds/*.yaml,
each with its source on top. A kind that none of them knows is a fault too.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import SchemaNotFoundError, ValidationError, all_versions

CRDS = Path(__file__).parent / "crds"
SCALARS = {"IoK8sApimachineryPkgApiResourceQuantity", "IoK8sApimachineryPkgUtilIntstrIntOrString"}
"""Models that hold one of several types and read it themselves."""
TRAINER = "trainer.kubeflow.org/v1alpha1"


def newest_versions(count: int = 3) -> list[str]:
    """The newest minor versions of Kubernetes that have schemas here: 1.37, 1.36, 1.35."""
    minors = {tuple(int(part) for part in version.split(".")[:2]) for version in all_versions()}
    return [f"{major}.{minor}" for major, minor in sorted(minors, reverse=True)[:count]]


def faults(body: Mapping[str, Any], version: str) -> list[str]:
    """What is wrong with an object for a version of Kubernetes."""
    api, kind = body["apiVersion"], body["kind"]
    custom = _custom(api, kind)
    if custom is not None:
        return [_sentence(_deepest(error)) for error in custom.iter_errors(body)]
    try:
        kubernetes_validate.validate(dict(body), version, strict=True)
    except SchemaNotFoundError:
        return [f"no schema for {api} {kind} in Kubernetes {version}: add one to {CRDS.name}/"]
    except ValidationError as error:
        return [_sentence(error)]
    return []


def _deepest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """The fault itself, not that none of several alternatives fits (a field or null)."""
    return jsonschema.exceptions.best_match([error])


def _sentence(error: jsonschema.ValidationError) -> str:
    return f"{'.'.join(str(part) for part in error.path) or '(top)'}: {error.message[:300]}"


@functools.cache
def _custom(api: str, kind: str) -> jsonschema.Draft202012Validator | None:
    if api == TRAINER:
        return _trainer(kind)
    path = CRDS / f"{kind.lower()}.yaml"
    if not path.is_file():
        return None
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    if api not in schema["properties"]["apiVersion"]["enum"]:
        return None
    return jsonschema.Draft202012Validator(schema)


def _trainer(kind: str) -> jsonschema.Draft202012Validator | None:
    from kubeflow_trainer_api import models

    model = getattr(models, f"TrainerV1alpha1{kind}", None)
    if model is None:
        return None
    schema = model.model_json_schema(by_alias=True)
    parts = schema.get("$defs", {})
    for part in (schema, *parts.values()):
        if "properties" in part:
            part["additionalProperties"] = False
    for name in set(parts) & SCALARS:
        parts[name] = {"type": ["string", "number"]}
    return jsonschema.Draft202012Validator(schema)
