"""The teacher writes rationales; those that end in the right answer are kept."""

from kfp.dsl import Dataset, Input, Metrics, Output, component

from components.images import image


@component(base_image=image("distill"), install_kfp_package=False)
def distill(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    examples: Input[Dataset],
    rationales: Output[Dataset],
    metrics: Output[Metrics],
):
    """The teacher writes rationales; those that end in the right answer are kept."""
    from chainsight.runner import run_component

    run_component(
        "distill",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        inputs={"examples": examples},
        outputs={"rationales": rationales},
        metrics=metrics,
    )
