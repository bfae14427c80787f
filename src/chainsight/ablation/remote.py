"""An ablation on a cluster: the plan as one text, and a node at a time, each in a pod of its own.

Every pod lays the same plan out again and finds what its node reads by the keys of the nodes
before it; nothing passes between pods but the store.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chainsight.ablation.execute import State, survey
from chainsight.ablation.plan import Node, Plan, plan
from chainsight.config import RunConfig, load_config, validate
from chainsight.config.ablate import AblateConfig, load_ablation
from chainsight.errors import ConfigError, StoreError
from chainsight.job import Job
from chainsight.runner import find
from chainsight.store import open_store


def pack(config: AblateConfig, run: RunConfig) -> str:
    """An ablation and the run that it varies, as JSON text: KFP would turn 4 into 4.0, and with it
    the names of rows."""
    rows = config.model_dump(mode="json", by_alias=True)
    base = run.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps({"ablation": rows, "run": base})  # rows keep their order


def read(path: Path, overrides: dict[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """The run that the ablation at `path` varies, under the ablation's name, and the parameter
    `ablation` of its pipeline.

    Raises:
        ConfigError: as `load_ablation` and `load_config`.
    """
    config, where = load_ablation(path, overrides)
    run = load_config(where, {"run.name": config.name} | config.set)
    return run, {"ablation": pack(config, run)}


def unpack(text: str) -> Plan:
    """The plan of what `pack` wrote.

    Raises:
        ConfigError: it is no such text, or a setting is wrong.
    """
    try:
        found: dict[str, Any] = json.loads(text)
        ablation, run = found["ablation"], found["run"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            "the parameter `ablation` is not what `chainsight compile --pipeline ablate` writes; "
            "start the pipeline by `chainsight submit --pipeline ablate CONFIG`"
        ) from None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_text(json.dumps(run), encoding="utf-8")  # JSON is YAML
        return plan(validate(AblateConfig, ablation, "ablation"), path)


def packed_run(text: str) -> dict[str, Any]:
    """The sections of the run in what `pack` wrote, for the doctor."""
    sections: dict[str, Any] = json.loads(text)["run"]
    return sections


def label(node: Node) -> str:
    """What a node is called in a pipeline: `sft-1f2e3d4c5b6a`."""
    return f"{node.stage.name}-{node.id}"


def job_of(laid: Plan, name: str) -> Job:
    """The work of the node called `name`, when those before it are done.

    Raises:
        ConfigError: the plan has no such node.
        StoreError: a node before it is not done.
    """
    wanted = next((node for node in laid.nodes.values() if label(node) == name), None)
    if wanted is None:
        raise ConfigError(
            f"the ablation has no node {name}: it has changed since the pipeline was compiled; "
            "submit it again"
        )
    state = State(laid, open_store(laid.run.store_uri(), Path(laid.run.home) / "cache"))
    for node in before(laid, wanted):
        found = find(state.job(node))
        if found is None:
            raise StoreError(
                f"{name} needs {label(node)}, which is not in the store: it has failed, or the "
                "pods run another version of the code; look at its task"
            )
        state.done[node.id] = found
    return state.job(wanted)


def before(laid: Plan, node: Node) -> list[Node]:
    """All nodes that `node` depends on, in the plan's order."""
    needed: set[str] = set()
    todo = [node]
    while todo:
        above = {ref.node for ref in todo.pop().parents.values()} - needed
        needed |= above
        todo.extend(laid.nodes[one] for one in above)
    return [one for one in laid.nodes.values() if one.id in needed]


def tell(laid: Plan) -> tuple[Path, Path]:
    """Write what of the plan is in the store, and record it in MLflow; gives figures and page."""
    from chainsight.ablation.page import build  # with matplotlib, which few pods have
    from chainsight.ablation.results import collect, write
    from chainsight.ablation.track import record, tracked

    state, folder = survey(laid), laid.folder()
    found = collect(state)
    with tracked(laid) as parent:
        figures, page = write(found, folder), folder / "ablation.html"
        page.write_text(build(found), encoding="utf-8")
        record(parent, state, found, folder)
    return figures, page
