"""An ablation's work as a graph: a node for each stage that some setting needs, equal ones once.

A node is equal to another if stage, settings, seed and the nodes before it are. What the graph
cannot know yet, that different nodes wrote equal content, the store's keys find while it runs.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from chainsight.ablation import expectations
from chainsight.ablation.recipes import Step, chain, source
from chainsight.config import ModelSection, RunConfig, RunSection, Section, load_config
from chainsight.config.ablate import AblateConfig, SettingSection
from chainsight.errors import ConfigError
from chainsight.stages import Stage

SEEDLESS = ("prepare",)
"""Stages whose key has the seed, but whose work draws nothing by it: made once, with the first."""


class Ref(NamedTuple):
    """An artifact that another node writes."""

    node: str
    kind: str


@dataclass(frozen=True)
class Node:
    """One execution of a stage."""

    id: str
    stage: Stage
    config: Section
    run: RunSection
    model: ModelSection
    parents: Mapping[str, Ref]
    """What it reads, by input kind."""


@dataclass(frozen=True)
class Row:
    """One setting with one seed: a way through the graph."""

    name: str
    setting: SettingSection
    seed: int
    steps: Mapping[str, str]
    """Node ids by step, in order: `sample`, `sample 2`."""


@dataclass(frozen=True)
class Plan:
    """All that is to be done."""

    config: AblateConfig
    run: RunSection
    """Where it is done; its seed is the first."""
    nodes: Mapping[str, Node]
    """By id; each after the nodes that it reads from."""
    rows: tuple[Row, ...]

    @property
    def levels(self) -> tuple[tuple[Node, ...], ...]:
        """Nodes by depth: those of a level read only from levels before it."""
        depth: dict[str, int] = {}
        for node in self.nodes.values():
            above = [depth[ref.node] for ref in node.parents.values()]
            depth[node.id] = max(above, default=-1) + 1
        count = max(depth.values()) + 1
        return tuple(
            tuple(node for node in self.nodes.values() if depth[node.id] == level)
            for level in range(count)
        )

    def users(self, node: str) -> tuple[Row, ...]:
        """The rows that a node is made for."""
        return tuple(row for row in self.rows if node in row.steps.values())

    def folder(self) -> Path:
        """Where table and page go."""
        return self.run.report_folder()


def plan(config: AblateConfig, run: Path) -> Plan:
    """Lay the work out; settings and claims are checked before anything runs.

    Args:
        config: what to compare.
        run: the file of the complete run that settings vary.

    Raises:
        ConfigError: names the setting and its offending key, or the claim that cannot be judged.
    """
    nodes: dict[str, Node] = {}
    runs: dict[str, RunConfig] = {}
    rows = []
    for name, setting in config.rows().items():
        now, later = _resolved(config, run, name, setting)
        runs[name] = later
        for seed in config.seeds:
            steps = dict(_walk(chain(setting), now, later, seed, config.seeds[0], nodes))
            rows.append(Row(name, setting, seed, steps))
    expectations.check(config, runs)
    first = load_config(run, _common(config) | {"run.seed": config.seeds[0]}).run
    return Plan(config, first, nodes, tuple(rows))


def _walk(
    steps: list[Step],
    now: RunConfig,
    later: RunConfig,
    seed: int,
    first_seed: int,
    nodes: dict[str, Node],
) -> Iterator[tuple[str, str]]:
    """Add a row's nodes; gives each step's label and node id."""
    latest: dict[str, Ref] = {}
    for step in steps:
        config = later if step.later else now
        node = _node(
            step.stage, config, first_seed if step.stage.name in SEEDLESS else seed, latest
        )
        nodes.setdefault(node.id, node)
        for kind in step.stage.outputs:
            latest.pop(kind, None)  # so that the newest stands last
            latest[kind] = Ref(node.id, kind)
        yield step.label, node.id


def _node(stage: Stage, config: RunConfig, seed: int, latest: Mapping[str, Ref]) -> Node:
    section = _section(stage, config)
    parents = {
        kind: [ref for made, ref in latest.items() if made in source(stage, kind)][-1]
        for kind in stage.inputs
    }
    identity: dict[str, Any] = {
        "stage": stage.name,
        "config": section.model_dump(mode="json", by_alias=True),
        "parents": parents,
    }
    if "seed" in stage.shared:
        identity["seed"] = seed
    if "model" in stage.shared:
        identity["model"] = config.model.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    run = config.run.model_copy(update={"seed": seed})
    return Node(digest[:12], stage, section, run, config.model, parents)


def _section(stage: Stage, config: RunConfig) -> Section:
    """A stage's settings, without those that mean nothing to it."""
    section = config.section(stage.section or stage.name)
    if stage.name == "score":  # one model, and no other
        return section.model_copy(update={"models": {}, "include_base": False})
    return section


def _resolved(
    config: AblateConfig, run: Path, name: str, setting: SettingSection
) -> tuple[RunConfig, RunConfig]:
    """The setting's run for the opening, and for what comes after it."""
    _check_keys(name, setting)
    values = _common(config) | setting.set
    now = _load(name, run, values)
    return now, _load(name, run, values | setting.then) if setting.then else now


def _common(config: AblateConfig) -> dict[str, Any]:
    if "run.seed" in config.set:
        raise ConfigError("set: run.seed is what varies within a row; write seeds")
    return {"run.name": config.name} | config.set


def _load(name: str, run: Path, values: Mapping[str, Any]) -> RunConfig:
    try:
        return load_config(run, dict(values))
    except ConfigError as error:
        raise ConfigError(f"setting {name!r}: {error}") from None


def _check_keys(name: str, setting: SettingSection) -> None:
    """Refuse a value for a stage that the recipe does not have: the row would be another's twin."""
    sections = {step.stage.section or step.stage.name for step in chain(setting)} | {"model"}
    for where, values in (("set", setting.set), ("then", setting.then)):
        for key in values:
            section = key.partition(".")[0]
            if section not in sections:
                raise ConfigError(
                    f"setting {name!r}: {where}: {key} changes nothing in recipe "
                    f"{setting.recipe!r}, which reads {', '.join(sorted(sections))}"
                )
