"""The mock teacher in a process of its own, so that it takes no time from those it measures."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def mock(options: Sequence[str]) -> Iterator[str]:
    """Run `chainsight teacher` with options; yields its base URL."""
    command = [sys.executable, "-m", "chainsight", "teacher", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        line = process.stderr.readline()
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        process.terminate()
        process.wait()


def bill(url: str, part: str = "") -> Any:
    """What the mock at `url` has counted."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/bill{part}", timeout=60) as answer:
        return json.load(answer)
