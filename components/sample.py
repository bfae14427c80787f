"""Sample many chains of thought per question from the policy."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.images import image


@component(base_image=image("sample"), install_kfp_package=False)
def sample(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    examples: Input[Dataset],
    policy: Input[Model],
    candidates: Output[Dataset],
    metrics: Output[Metrics],
):
    """Sample many chains of thought per question from the policy."""
    from chainsight.runner import run_component

    run_component(
        "sample",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        inputs={"examples": examples, "policy": policy},
        outputs={"candidates": candidates},
        metrics=metrics,
    )
