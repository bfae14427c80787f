"""What the tests of submission share: a server, a configuration, a clean environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp_server import KfpServer, serving

from chainsight.config import RunConfig, load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(clean_environment: None) -> Iterator[KfpServer]:
    """The stand-in for Kubeflow Pipelines."""
    with serving() as state:
        yield state


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster, token or kubeconfig of the machine's own."""
    names = ["KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KFP_EXISTING_TOKEN"]
    names.append("KF_PIPELINES_SA_TOKEN_PATH")
    for name in [*names, "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "SSL_CERT_FILE"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def config() -> RunConfig:
    """A complete configuration."""
    return load_config(ROOT / "configs/smoke.yaml")
