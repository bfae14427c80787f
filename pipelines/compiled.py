"""The pipelines by name, and their way into a file."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kfp import compiler

from chainsight.config import RunConfig
from chainsight.errors import ConfigError
from pipelines import align, evaluate, train
from pipelines.placement import defaults

PIPELINES: dict[str, Callable[..., Any]] = {
    "train": train.build,
    "align": align.build,
    "evaluate": evaluate.build,
}

_NOT_OF_TRAIN = ("verify", "adopt", "rft", "promotion")
"""Sections of what comes after a run, or beside it."""


def parameters(config: RunConfig) -> dict[str, Any]:
    """The parameters of `train`: the sections of `config`, as plain values, and the placement.

    KFP has no null, so unset values are left out: they are defaults (tests/test_config.py).
    """
    plain = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    sections = {name: section for name, section in plain.items() if name not in _NOT_OF_TRAIN}
    return sections | defaults(config.platform)


def compile_to(
    config: RunConfig, path: Path, pipeline: str = "train", given: Mapping[str, Any] | None = None
) -> None:
    """Write a pipeline's IR to `path`, with `config` and `given` as the parameters' defaults.

    Equal pipelines give equal bytes: kfp's comment on top, in random order, is left out.

    Args:
        config: the sections that the pipeline has as parameters are taken from it.
        path: the file to write.
        pipeline: a name in `PIPELINES`.
        given: parameters that are no sections: `policy_uri` of align, `models` of evaluate.
    """
    built = PIPELINES[pipeline](config.run.name, config.platform)
    known = built.pipeline_spec.root.input_definitions.parameters
    chosen = {k: v for k, v in (parameters(config) | dict(given or {})).items() if k in known}
    compiler.Compiler().compile(built, str(path), pipeline_parameters=chosen)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("#")), encoding="utf-8")


def compilers(names: Iterable[str] | None = None) -> list[Callable[[RunConfig, Path], None]]:
    """A function per pipeline that writes it to a file; all of them if none is named.

    Raises:
        ConfigError: no pipeline has one of the names.
    """
    chosen = list(names or PIPELINES)
    for name in chosen:
        if name not in PIPELINES:
            raise ConfigError(f"no pipeline is called {name!r}; known: {', '.join(PIPELINES)}")
    return [partial(compile_to, pipeline=name) for name in chosen]
