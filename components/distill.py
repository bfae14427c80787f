"""The teacher writes rationales; those that end in the right answer are kept."""

from kfp.dsl import Dataset, Input, Metrics, Output, component

from components.images import image


@component(base_image=image("distill"), install_kfp_package=False)
def distill(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    shard: str,
    examples: Input[Dataset],
    rationales: Output[Dataset],
    metrics: Output[Metrics],
):
    """The teacher writes rationales; those that end in the right answer are kept."""
    from chainsight.component import run_sharded

    run_sharded(
        "distill",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        shard=shard,
        inputs={"examples": examples},
        outputs={"rationales": rationales},
        metrics=metrics,
    )
