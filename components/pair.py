"""Pair right chains with wrong ones."""

from kfp.dsl import Dataset, Input, Metrics, Output, component

from components.images import image


@component(base_image=image("pair"), install_kfp_package=False)
def pair(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    candidates: Input[Dataset],
    rationales: Input[Dataset],
    pairs: Output[Dataset],
    metrics: Output[Metrics],
):
    """Pair right chains with wrong ones."""
    from chainsight.component import run_component

    run_component(
        "pair",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        inputs={"candidates": candidates, "rationales": rationales},
        outputs={"pairs": pairs},
        metrics=metrics,
    )
