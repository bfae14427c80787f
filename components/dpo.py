"""Align the policy on the pairs by direct preference optimisation."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.images import image


@component(base_image=image("dpo"), install_kfp_package=False)
def dpo(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    platform: dict,
    examples: Input[Dataset],
    pairs: Input[Dataset],
    policy: Input[Model],
    aligned: Output[Model],
    metrics: Output[Metrics],
):
    """Align the policy on the pairs by direct preference optimisation."""
    from chainsight.component import run_component

    run_component(
        "dpo",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        platform=platform,
        inputs={"examples": examples, "pairs": pairs, "policy": policy},
        outputs={"aligned": aligned},
        metrics=metrics,
    )
