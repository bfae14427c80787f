"""Score base, policy and aligned, asked directly and for a reason."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.images import image


@component(base_image=image("evaluate"), install_kfp_package=False)
def evaluate(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    shard: str,
    benchmarks: Input[Dataset],
    policy: Input[Model],
    aligned: Input[Model],
    predictions: Output[Dataset],
    scores: Output[Dataset],
    metrics: Output[Metrics],
):
    """Score base, policy and aligned, asked directly and for a reason."""
    from chainsight.component import run_sharded

    run_sharded(
        "evaluate",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        shard=shard,
        inputs={"benchmarks": benchmarks, "policy": policy, "aligned": aligned},
        outputs={"predictions": predictions, "scores": scores},
        metrics=metrics,
    )
