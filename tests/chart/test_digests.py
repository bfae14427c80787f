"""What docker/build.sh recorded, as values of the chart."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from charts import CHART, DIGEST, NAMESPACE, ROOT, helm

from chainsight.stages import STAGES

SCRIPT = ROOT / "k8s" / "digests.py"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file of images in a registry with a port."""
    path = "registry.example.com:5000/team/chainsight"
    images = {name: {"image": f"{path}-{name}@{DIGEST}"} for name in STAGES}
    services = {"mlflow": {"image": f"{path}-mlflow@{DIGEST}"}}
    file = tmp_path / "images.lock.json"
    file.write_text(json.dumps({"images": images, "services": services}))
    return file


def _values(lock: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), str(lock)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_chart_takes_the_digests_of_a_build(lock: Path) -> None:
    values = lock.with_name("digests.json")
    values.write_text(_values(lock).stdout)
    done = helm(
        *("template", "cs", str(CHART), "--namespace", NAMESPACE, "-f", str(values)),
        *("--set", "images.requireDigests=true"),
    )
    assert done.returncode == 0, done.stderr
    images = [line.split()[-1] for line in done.stdout.splitlines() if " image: " in line]
    assert images
    assert all(i.startswith("registry.example.com:5000/team/chainsight-") for i in images)
    assert all(image.endswith(DIGEST) for image in images)


def test_images_that_were_not_pushed_are_refused(lock: Path) -> None:
    content = json.loads(lock.read_text())
    content["services"]["mlflow"]["image"] = "chainsight-mlflow:0.1-abc"
    lock.write_text(json.dumps(content))
    done = _values(lock)
    assert done.returncode == 1
    assert "no digest: chainsight-mlflow:0.1-abc" in done.stderr
