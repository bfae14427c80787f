"""The doctor as the first task of a pipeline: before it has said yes, no GPU is asked for."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from chainsight.config import RunConfig, validate
from chainsight.doctor.check import Check, Cluster, Where, fail
from chainsight.doctor.examination import examine
from chainsight.doctor.show import markdown, show, summary
from chainsight.errors import ConfigError
from chainsight.progress import parent_events

IN_A_CLUSTER = "KUBERNETES_SERVICE_HOST"
"""Set by the kubelet in every pod."""


def examine_component(
    config: dict[str, Any],
    *,
    page: str | os.PathLike[str],
    images: Mapping[str, str] | None = None,
    spend: bool = True,
    where: Where | None = None,
) -> list[Check]:
    """Examine a run from inside one of its tasks; end the process with 1 if anything fails.

    `config` holds the sections as KFP hands them over, `images` the image of each stage, `page`
    is the file that gets the table as Markdown, also when it fails. `where` is found out: a pod
    of a cluster gets the cluster's checks too; in `chainsight run` there is no cluster.
    With `spend` the teacher is asked one question of one token, which costs well below a cent.
    """
    events = parent_events()
    if events:
        events.write("stage", stage="doctor")
    place = where or ("pod" if IN_A_CLUSTER in os.environ else "task")
    checks = _examined(config, images, spend, place)
    show(Console(), checks)
    Path(page).write_text(markdown(checks), encoding="utf-8")
    failed = [check for check in checks if check.level == "fail"]
    if failed:
        message = "; ".join(f"{check.what}: {check.finding} -> {check.way_out}" for check in failed)
        if events:
            events.write("failed", stage="doctor", message=message)
        print(f"doctor: {summary(checks)}; {message}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(1)
    if events:
        counts = {f"num_{level}": sum(c.level == level for c in checks) for level in ("ok", "warn")}
        events.write("done", stage="doctor", reused=False, metrics=counts)
    return checks


def _examined(
    config: dict[str, Any], images: Mapping[str, str] | None, spend: bool, where: Where
) -> list[Check]:
    try:
        run = validate(RunConfig, config, "the pipeline's parameters")
    except ConfigError as error:
        way_out = "correct these parameters of the run, and start it again"
        return [fail("config", str(error), way_out)]
    cluster = Cluster() if IN_A_CLUSTER in os.environ else None
    return examine(run, where=where, spend=spend, images=images, cluster=cluster)
