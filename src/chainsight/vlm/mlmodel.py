"""The file MLmodel, by which `mlflow.pyfunc.load_model` finds `chainsight.pyfunc` in a checkpoint.

Written without mlflow, and with neither an id nor a time: equal checkpoints are equal bytes.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from chainsight.vlm.files import MLMODEL

LOADER = "chainsight.pyfunc"
PYTHON = "3.11"
"""The oldest that chainsight takes. MLflow warns where another runs, and of a file without one."""
DEFAULT_BATCH_SIZE = 16
"""Questions at a time, as in evaluation."""


def write(folder: Path, *, dtype: str) -> None:
    """Write `MLmodel`; `dtype` is what the model is loaded in unless its caller wants another."""
    flavor = {
        "config": {"attention": "sdpa", "dtype": dtype},
        "data": ".",
        "loader_module": LOADER,
        "python_version": PYTHON,
    }
    content = {"flavors": {"python_function": flavor}, "signature": signature()}
    (folder / MLMODEL).write_text(yaml.safe_dump(content, sort_keys=True), encoding="utf-8")


def signature() -> dict[str, str]:
    """What `predict` takes and gives, in MLflow's form: JSON texts."""
    inputs = [
        _column("image", "any"),  # bytes, text or a picture
        _column("question", "string"),
        _column("choices", "any", required=False),
    ]
    outputs = [_column(name, "string") for name in ("answer", "rationale", "status")]
    params = [
        _param("mode", "string", "cot"),
        _param("max_new_tokens", "long", None),  # none: the mode's own bound
        _param("batch_size", "long", DEFAULT_BATCH_SIZE),
    ]
    parts = {"inputs": inputs, "outputs": outputs, "params": params}
    return {name: json.dumps(columns) for name, columns in parts.items()}


def _column(name: str, kind: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required}


def _param(name: str, kind: str, default: str | int | None) -> dict[str, Any]:
    return {"name": name, "type": kind, "default": default, "shape": None}
