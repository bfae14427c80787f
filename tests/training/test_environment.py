"""Training beside other threads: they look up variables while it runs."""

import os
import subprocess
import sys

import pytest
import torch
from accelerate.utils import AutocastKwargs, environment

from chainsight.training.loop import Autocast


def test_a_step_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "clear_environment", None)  # whoever calls it fails
    with torch.autocast("cpu", torch.bfloat16, **Autocast().to_kwargs()):
        assert not torch.is_autocast_cache_enabled()
    with pytest.raises(TypeError):
        AutocastKwargs(cache_enabled=False).to_kwargs()  # if this is mended, `Autocast` can go


def test_trainings_are_not_told_to_the_hub() -> None:
    ask = "import chainsight, huggingface_hub.constants as c; print(c.HF_HUB_DISABLE_TELEMETRY)"
    rest = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    for given, told in (({}, "True"), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, "False")):
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env=rest | given,
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == told
