"""The two commands, on the tiny model: every case runs, and both sides find the same."""

import json

import pytest

from benchmarks import cpu, gpu


@pytest.mark.parametrize(
    "suite",
    [
        pytest.param(suite, marks=pytest.mark.slow if suite == "evaluate" else ())
        for suite in cpu.SUITES
    ],
)
def test_each_suite_runs_on_a_cpu_and_its_sides_agree(suite, tmp_path):
    assert cpu.main(["--quick", "--only", suite, "--folder", str(tmp_path)]) == 0
    cases = json.loads((tmp_path / "cpu.json").read_text())["cases"]
    assert all(case["agrees"] and case["took"]["ours"]["seconds"] for case in cases)


@pytest.mark.parametrize("suite", ["dpo-full", "sampling"])
def test_what_a_gpu_would_run_runs_tiny_on_a_cpu(suite, tmp_path):
    assert gpu.main(["--tiny", "--only", suite, "--folder", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "gpu.json").read_text())
    assert data["refused"] == []
    assert data["cases"]


def test_without_a_gpu_the_command_says_how_to_try_it(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="--tiny"):
        gpu.main([])
