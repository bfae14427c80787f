"""The page of a verification: what choosing among many answers is worth."""

from kfp.dsl import HTML, Dataset, Input, Output, component

from components.images import image


@component(base_image=image("verification"), install_kfp_package=False)
def verification(
    run: dict,
    model: dict,
    prepare: dict,
    verify: dict,
    version: str,
    verified: Input[Dataset],
    page: Output[HTML],
):
    """Curves over the number of answers, as a page and in MLflow."""
    from chainsight.component import verification_page

    sections = {"run": run, "model": model, "prepare": prepare, "verify": verify}
    verification_page(sections, version=version, verified=verified, page=page)
