"""The first task: before it has said yes, no GPU is asked for and nothing is paid."""

from kfp.dsl import Markdown, Output, component

from components.images import image


@component(base_image=image("doctor"), install_kfp_package=False)
def doctor(
    run: dict,
    model: dict,
    prepare: dict,
    distill: dict,
    sft: dict,
    sample: dict,
    pair: dict,
    dpo: dict,
    evaluate: dict,
    register: dict,
    platform: dict,
    images: dict,
    page: Output[Markdown],
):
    """Check what the run needs: store, data, teacher, model, MLflow, images, the cluster."""
    from chainsight.doctor import examine_component

    examine_component(
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
        images=images or None,
        page=page.path,
    )
