"""The last task, whatever happened: what ran, what failed, what it cost; and cleaning up."""

from kfp.dsl import Markdown, Output, PipelineTaskFinalStatus, component

from components.images import image


@component(base_image=image("summarize"), install_kfp_package=False)
def summarize(
    run: dict,
    model: dict,
    prepare: dict,
    sample: dict,
    pair: dict,
    dpo: dict,
    evaluate: dict,
    register: dict,
    platform: dict,
    pipeline_run: str,
    status: PipelineTaskFinalStatus,
    summary: Output[Markdown],
    distill: dict = {},  # noqa: B006 - a default that KFP writes into the pipeline
    sft: dict = {},  # noqa: B006
    policy_uri: str = "",
):
    """Write what ran, what failed and what it cost, and remove what the run left in the cluster."""
    from chainsight.closing import close

    close(
        {
            "run": run,
            "model": model,
            "prepare": prepare,
            "distill": distill,
            "sft": sft,
            "sample": sample,
            "pair": pair,
            "dpo": dpo,
            "evaluate": evaluate,
            "register": register,
            "platform": platform,
        },
        policy_uri=policy_uri,
        pipeline_run=pipeline_run,
        state=status.state,
        error=status.error_message,
        path=summary.path,
    )
