"""The same run with its store in S3: the same keys, the same results."""

from pathlib import Path

import pytest
from workplace import Workplace, contents

from chainsight.runner import StageRun
from chainsight.stages import STAGES

CONFIG = "configs/smoke.yaml"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_through_s3_has_the_same_keys_and_results(tmp_path: Path, s3: dict[str, str]) -> None:
    local = Workplace(tmp_path / "local", {"MLFLOW_TRACKING_URI": ""})
    remote = Workplace(tmp_path / "remote", s3 | {"MLFLOW_TRACKING_URI": ""})
    bucket = "s3://chainsight/runs"
    here, _ = local.run(CONFIG)
    there, _ = remote.run(CONFIG, run__store=bucket)
    assert there["models"] == here["models"]
    stages, others = local.resolve(CONFIG), remote.resolve(CONFIG, run__store=bucket)
    for found in (stages, others):
        del found["register"]  # its decision belongs to one registry, and these have one each
    assert list(stages) == list(others) == [*STAGES][:-1]
    assert keys(stages) == keys(others)
    assert contents(stages) == contents(others)


def keys(stages: dict[str, StageRun]) -> dict[str, str]:
    return {k: m.key for run in stages.values() for k, m in run.outputs.items()}
