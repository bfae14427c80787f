"""Many answers to the benchmarks' questions, judged by the models themselves."""

from kfp.dsl import Dataset, Input, Metrics, Output, component

from components.images import image


@component(base_image=image("verify"), install_kfp_package=False)
def verify(
    run: dict,
    model: dict,
    prepare: dict,
    verify: dict,
    pipeline_run: str,
    version: str,
    policy_uri: str,
    aligned_uri: str,
    benchmarks: Input[Dataset],
    verified: Output[Dataset],
    metrics: Output[Metrics],
):
    """Draw answers from a registered version, or from `aligned_uri`, and judge them."""
    from chainsight.component import verify_models

    verify_models(
        {"run": run, "model": model, "prepare": prepare, "verify": verify},
        version=version,
        given={"policy": policy_uri, "aligned": aligned_uri},
        pipeline_run=pipeline_run,
        benchmarks=benchmarks,
        verified=verified,
        metrics=metrics,
    )
