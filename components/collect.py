"""What an ablation has found, finished or not: its figures and its page."""

from kfp.dsl import HTML, Artifact, Output, PipelineTaskFinalStatus, component

from components.images import image


@component(base_image=image("collect"), install_kfp_package=False)
def collect(
    ablation: str,
    pipeline_run: str,
    platform: dict,
    status: PipelineTaskFinalStatus,  # noqa: ARG001 - makes it the last task, whatever happened
    results: Output[Artifact],
    page: Output[HTML],
):
    """Write figures and page of what is done, and end what a failed run left in the cluster."""
    from chainsight.component import collect_ablation

    collect_ablation(
        ablation,
        pipeline_run=pipeline_run,
        platform=platform,
        results=results,
        page=page,
    )
