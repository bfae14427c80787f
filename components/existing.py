"""A policy that is already in the store, and what it was trained on."""

from kfp.dsl import Dataset, Model, Output, component

from components.images import image


@component(base_image=image("existing"), install_kfp_package=False)
def existing(
    run: dict,
    policy_uri: str,
    policy: Output[Model],
    examples: Output[Dataset],
    rationales: Output[Dataset],
):
    """Take a policy from the store, with the examples and rationales that it was trained on."""
    from chainsight.component import take_existing

    take_existing(
        run, policy_uri, {"policy": policy, "examples": examples, "rationales": rationales}
    )
