"""What an ablation has found, finished or not: its figures and its table."""

from kfp.dsl import Artifact, Markdown, Output, PipelineTaskFinalStatus, component

from components.images import image


@component(base_image=image("collect"), install_kfp_package=False)
def collect(
    ablation: str,
    pipeline_run: str,
    platform: dict,
    status: PipelineTaskFinalStatus,
    results: Output[Artifact],
    table: Output[Markdown],
):
    """Write `ablation.json` and the table of what is done, and clean up in the cluster."""
    from chainsight.component import collect_ablation

    collect_ablation(
        ablation,
        pipeline_run=pipeline_run,
        platform=platform,
        state=status.state,
        results=results,
        table=table,
    )
