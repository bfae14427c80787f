"""Sample many chains of thought per question from the policy."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.images import image


@component(base_image=image("sample"), install_kfp_package=False)
def sample(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    shard: str,
    examples: Input[Dataset],
    policy: Input[Model],
    candidates: Output[Dataset],
    metrics: Output[Metrics],
):
    """Sample many chains of thought per question from the policy."""
    from chainsight.component import run_sharded

    run_sharded(
        "sample",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        shard=shard,
        inputs={"examples": examples, "policy": policy},
        outputs={"candidates": candidates},
        metrics=metrics,
    )
