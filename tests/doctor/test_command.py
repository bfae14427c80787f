"""`chainsight doctor` with a cluster."""

import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from chainsight.cli import app

World = Any


@pytest.fixture
def files(world: World) -> list[str]:
    """The world's configuration and kubeconfig, as arguments."""
    config, kubeconfig = world.folder / "run.yaml", world.folder / "kubeconfig"
    config.write_text(yaml.safe_dump(world.settings))
    context = {"cluster": "k", "user": "u"}
    content = {
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": world.api.url}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
        "contexts": [{"name": "c", "context": context}],
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    return [str(config), "--kubeconfig", str(kubeconfig), "--namespace", "team"]


def test_a_kubeconfig_adds_the_cluster_and_the_images(world: World, files: list[str]) -> None:
    world.environment.setenv("CHAINSIGHT_IMAGE_SFT", "registry.test/sft:1")
    result = CliRunner().invoke(app, ["doctor", *files, "--json"])
    checks = json.loads(result.stdout)
    assert {"cluster", "runtime", "images"} <= {check["what"] for check in checks}
    tagged = [check for check in checks if "registry.test/sft:1 is a tag" in check["finding"]]
    assert [check["level"] for check in tagged] == ["fail"]
    assert result.exit_code == 1


def test_money_is_spent_only_when_asked(world: World, files: list[str]) -> None:
    free = CliRunner().invoke(app, ["doctor", files[0]])
    assert "takes the key, has scripted; not asked" in free.stdout
    assert free.exit_code == 0
    paid = CliRunner().invoke(app, ["doctor", files[0], "--spend"])
    assert "scripted answered (" in paid.stdout
