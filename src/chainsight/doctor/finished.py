"""What a run will not need because the work is done: finished stages are reused, not run.

So a run that is taken up again does not fail for a teacher that is no longer there.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chainsight.config import RunConfig
from chainsight.doctor.check import Check
from chainsight.errors import ChainsightError
from chainsight.job import job
from chainsight.runner import find
from chainsight.store import open_store

NEEDED_BY = {"dataset": "prepare", "teacher": "distill"}
"""Checks by the stage that alone needs what they look at."""


def unless_finished(checks: Sequence[Check], config: RunConfig) -> list[Check]:
    """Turn failures of what only finished stages need into warnings."""
    if not any(check.level == "fail" and check.what in NEEDED_BY for check in checks):
        return list(checks)  # the usual case costs nothing
    done = finished(config)
    return [_milder(check) if NEEDED_BY.get(check.what) in done else check for check in checks]


def finished(config: RunConfig) -> frozenset[str]:
    """Those of prepare and distill whose results are in the store already."""
    done: set[str] = set()
    uris: dict[str, str] = {}
    try:
        store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
        for stage, inputs in (("prepare", ()), ("distill", ("examples",))):
            found = find(
                job(
                    stage,
                    config.section(stage),
                    run=config.run,
                    model=config.model,
                    inputs={kind: uris[kind] for kind in inputs},
                    store=store,
                )
            )
            if found is None:
                break
            done.add(stage)
            uris |= {kind: store.artifact_uri(kind, m.key) for kind, m in found.outputs.items()}
    except ChainsightError:
        return frozenset(done)  # what cannot be looked up now cannot be reused either
    return frozenset(done)


def _milder(check: Check) -> Check:
    if check.level != "fail":
        return check
    stage = NEEDED_BY[check.what]
    way_out = f"nothing, as {stage} is finished and will be reused; to run it anew: {check.way_out}"
    return replace(check, level="warn", way_out=way_out)
