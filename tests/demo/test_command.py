import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from chainsight.demo import teacher
from chainsight.demo.command import section

COMMAND = (sys.executable, "-m", "chainsight", "teacher", "--port", "0")


def test_pairs_are_read_as_their_defaults_are() -> None:
    faults = section(teacher.Faults, ["hang=0.02", "burst_every=3"], "--fault")
    assert faults == teacher.Faults(hang=0.02, burst_every=3)
    assert section(teacher.Batching, None, "--batch") == teacher.Batching()


@pytest.mark.parametrize("pair", ["hnag=0.1", "hang", "hang=often", "burst_every=0.5"])
def test_a_pair_that_is_none_is_refused_with_the_names(pair: str) -> None:
    with pytest.raises(typer.BadParameter, match="write NAME=NUMBER; names are http_429, "):
        section(teacher.Faults, [pair], "--fault")


def test_a_served_teacher_keeps_its_bill_when_callers_go(
    question: Callable[..., Any], client: Callable[..., Any]
) -> None:
    options = ("--tokens-per-minute", "5000", "--latency", "0.01", "--fault", "http_500=0")
    process = subprocess.Popen(
        (*COMMAND, *options),
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, which tests may be, leaves SIGINT ignored to its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        assert process.stderr
        url = next(word for word in process.stderr.readline().split() if word.startswith("http"))
        raw = client(SimpleNamespace(url=url)).chat.completions.with_raw_response
        answer = raw.create(**question())
        assert answer.headers["x-ratelimit-limit-tokens"] == "5000"
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/bill", timeout=10) as page:
            bill = json.load(page)
        assert (bill["num_billed"], bill["num_twice"], list(bill["times"].values())) == (1, 0, [1])
        assert bill["prompt_tokens"] == answer.parse().usage.prompt_tokens
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) == 0
