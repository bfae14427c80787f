"""One stage of an ablation, for one or several of its settings."""

from kfp.dsl import Metrics, Output, component

from components.images import image


@component(base_image=image("pair"), install_kfp_package=False)
def node(ablation: str, name: str, pipeline_run: str, platform: dict, metrics: Output[Metrics]):
    """Do a node of an ablation's plan, or find it done; its stage's image is set by the task."""
    from chainsight.component import run_node

    run_node(ablation, name, pipeline_run=pipeline_run, platform=platform, metrics=metrics)
