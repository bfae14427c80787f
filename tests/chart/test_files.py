"""The configurations that the chart ships are ours."""

import pytest
from charts import CHART, ROOT

SHIPPED = tuple(sorted(path.name for path in (CHART / "files").glob("*.yaml")))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_is_a_copy_of_ours(name: str) -> None:
    """Helm reads no file outside the chart."""
    ours = (ROOT / "configs" / name).read_text(encoding="utf-8")
    shipped = (CHART / "files" / name).read_text(encoding="utf-8")
    assert shipped == ours, f"cp configs/{name} k8s/chainsight/files/"


def test_the_papers_configuration_is_shipped() -> None:
    assert "paper.yaml" in SHIPPED
