"""The pipelines by name, and their way into a file."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kfp import compiler

from chainsight.config import RunConfig
from chainsight.errors import ConfigError
from pipelines import ablate, align, evaluate, train, verify
from pipelines.placement import defaults

PIPELINES: dict[str, Callable[..., Any]] = {
    "train": train.build,
    "align": align.build,
    "evaluate": evaluate.build,
    "verify": verify.build,
    "ablate": ablate.build,
}

SHAPED_BY = {"ablate": "ablation"}
"""Pipelines whose tasks follow from a parameter, which `compile_to` is given."""

_NOT_OF_TRAIN = ("verify", "adopt", "rft", "promotion")
"""Sections of what comes after a run, or beside it."""


def parameters(config: RunConfig) -> dict[str, Any]:
    """The parameters of `train`: the sections of `config`, as plain values, and the placement.

    KFP has no null, so unset values are left out: they are defaults (tests/test_config.py).
    """
    known = _sections(config)
    sections = {name: section for name, section in known.items() if name not in _NOT_OF_TRAIN}
    return sections | defaults(config.platform)


def _sections(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def compile_to(
    config: RunConfig, path: Path, pipeline: str = "train", given: Mapping[str, Any] | None = None
) -> None:
    """Write a pipeline's IR to `path`, with `config` and `given` as the parameters' defaults.

    Equal pipelines give equal bytes: kfp's comment on top, in random order, is left out.

    Args:
        config: the sections that the pipeline has as parameters are taken from it.
        path: the file to write.
        pipeline: a name in `PIPELINES`.
        given: parameters that are no sections: `policy_uri` of align, `models` of evaluate,
            `version`, `policy_uri` and `aligned_uri` of verify, `ablation` of ablate.
    """
    given = dict(given or {})
    shape = {SHAPED_BY[pipeline]: given[SHAPED_BY[pipeline]]} if pipeline in SHAPED_BY else {}
    built = PIPELINES[pipeline](config.run.name, config.platform, **shape)
    known = built.pipeline_spec.root.input_definitions.parameters
    values = _sections(config) | defaults(config.platform) | given
    chosen = {k: v for k, v in values.items() if k in known}
    compiler.Compiler().compile(built, str(path), pipeline_parameters=chosen)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("#")), encoding="utf-8")


def compilers(names: Iterable[str] | None = None) -> list[Callable[[RunConfig, Path], None]]:
    """A function per pipeline that writes it to a file; all of them if none is named.

    Raises:
        ConfigError: no pipeline has one of the names.
    """
    chosen = list(names or (name for name in PIPELINES if name not in SHAPED_BY))
    for name in chosen:
        if name in SHAPED_BY:
            raise ConfigError(
                f"the tasks of pipeline {name!r} follow from what it is given, so it is uploaded "
                f"with a run: chainsight submit --pipeline {name} CONFIG"
            )
        if name not in PIPELINES:
            raise ConfigError(f"no pipeline is called {name!r}; known: {', '.join(PIPELINES)}")
    return [partial(compile_to, pipeline=name) for name in chosen]
