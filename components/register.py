"""Compare with the champion and register the aligned model."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output, component

from components.images import image


@component(base_image=image("register"), install_kfp_package=False)
def register(
    run: dict,
    model: dict,
    config: dict,
    pipeline_run: str,
    aligned: Input[Model],
    predictions: Input[Dataset],
    scores: Input[Dataset],
    decision: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
):
    """Compare with the champion and register the aligned model."""
    from chainsight.component import run_component
    from chainsight.runs import write_report

    result = run_component(
        "register",
        config,
        run=run,
        model=model,
        pipeline_run=pipeline_run,
        inputs={"aligned": aligned, "predictions": predictions, "scores": scores},
        outputs={"decision": decision},
        metrics=metrics,
    )
    write_report(run, [result], report.path)
