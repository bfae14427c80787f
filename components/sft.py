"""Fine-tune the base model on short and reasoned answers."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.images import image


@component(base_image=image("sft"), install_kfp_package=False)
def sft(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    platform: dict,
    examples: Input[Dataset],
    rationales: Input[Dataset],
    policy: Output[Model],
    metrics: Output[Metrics],
):
    """Fine-tune the base model on short and reasoned answers."""
    from chainsight.component import run_component

    run_component(
        "sft",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        platform=platform,
        inputs={"examples": examples, "rationales": rationales},
        outputs={"policy": policy},
        metrics=metrics,
    )
