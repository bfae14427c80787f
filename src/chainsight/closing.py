"""What a pipeline does last, whatever happened: say what ran, what failed and what it cost."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chainsight.config import RunConfig, validate
from chainsight.errors import ChainsightError, LaunchError
from chainsight.runner import StageRun, resolve, say
from chainsight.stages import STAGES, Stage
from chainsight.store import open_store


def close(
    sections: Mapping[str, Any],
    *,
    pipeline_run: str,
    state: str,
    error: str,
    path: str | Path,
    policy_uri: str = "",
) -> None:
    """Write the Markdown summary of a pipeline run to `path`.

    Never fails for what the run did: a summary that cannot be made says why.

    Args:
        sections: the configuration, as the pipeline's parameters have it.
        pipeline_run: the run's id in Kubeflow.
        state: Kubeflow's word for how the stages ended: SUCCEEDED, FAILED, CANCELLED.
        error: Kubeflow's message for a failed run, or "".
        path: the file to write.
        policy_uri: the policy that the pipeline began with; "" if it began with data.
    """
    try:
        given = {name: section for name, section in sections.items() if section}
        config = validate(RunConfig, given, "pipeline parameters")
        if config.platform.launcher == "trainjob":
            end_trainings(pipeline_run)
        known = _known(config, policy_uri)
        done = resolve(config, known).values()
        expected = [stage for stage in STAGES.values() if not set(stage.outputs) <= set(known)]
        text = summary(config.run.name, expected, done, state, error, pipeline_run)
    except ChainsightError as problem:
        text = f"# {state}\n\nThere is no summary: {problem}\n"
    Path(path).write_text(text, encoding="utf-8")
    say(text)


def _known(config: RunConfig, policy_uri: str) -> dict[str, str]:
    """The artifacts that the pipeline was given, by kind."""
    if not policy_uri:
        return {}
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    return {"policy": policy_uri, **store.load(policy_uri).inputs}


def end_trainings(pipeline_run: str) -> None:
    """Delete the TrainJobs that the run left under way; failed ones stay to be looked at."""
    from chainsight.launch.cluster import Cluster
    from chainsight.launch.trainjob import end_run

    try:
        end_run(Cluster.connect(say=say), pipeline_run, say)
    except LaunchError as error:
        say(f"TrainJobs of this run may be left: {error}")


def summary(
    name: str,
    expected: Iterable[Stage],
    done: Iterable[StageRun],
    state: str,
    error: str,
    pipeline_run: str = "",
) -> str:
    """The finished stages as a Markdown table, and where the run stopped. Pure."""
    finished = {run.stage: run for run in done}
    missing = next((stage.name for stage in expected if stage.name not in finished), None)
    cost = sum(run.metrics.get("cost_usd", 0.0) for run in finished.values())
    seconds = sum(run.seconds for run in finished.values())
    lines = [f"# {name}: {state}", ""]
    if missing:
        lines += [f"Stopped in or before **{missing}**: run again to go on from there.", ""]
    if error:
        lines += ["```", error.strip(), "```", ""]
    lines += ["| stage | seconds | cost, $ | artifacts |", "|---|---|---|---|"]
    lines += [_row(run) for run in finished.values()]
    lines += [f"| **all** | {seconds:,.0f} | {cost:.2f} | |", ""]
    lines.append("Seconds and cost are those of the work itself, also where it was reused.")
    return "\n".join([*lines, f"\nKubeflow run {pipeline_run}" if pipeline_run else "", ""])


def _row(run: StageRun) -> str:
    kinds = ", ".join(f"{kind} `{m.content_digest[:12]}`" for kind, m in run.outputs.items())
    cost = run.metrics.get("cost_usd")
    paid = "" if cost is None else f"{cost:.2f}"
    return f"| {run.stage} | {run.seconds:,.0f} | {paid} | {kinds} |"
