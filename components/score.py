"""Score any models: registered versions, hub ids, checkpoint folders."""

from kfp.dsl import Dataset, Input, Markdown, Metrics, Output, component

from components.images import image


@component(base_image=image("score"), install_kfp_package=False)
def score(
    run: dict,
    model: dict,
    prepare: dict,
    evaluate: dict,
    models: list,
    benchmarks: Input[Dataset],
    metrics: Output[Metrics],
    table: Output[Markdown],
):
    """Score models on the benchmarks; nothing is committed or registered."""
    from chainsight.component import score_models

    sections = {"run": run, "model": model, "prepare": prepare, "evaluate": evaluate}
    score_models(sections, models, benchmarks, metrics=metrics, table=table)
