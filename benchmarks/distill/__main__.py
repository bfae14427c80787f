"""What the paid stage gets out of an account's limits, beside two peers, against the mock teacher.

    PYTHONPATH=src:. python -m benchmarks.distill [--peers] [--memory] [--faults] [--json FILE]
        [--curator PYTHON] [--distilabel PYTHON] [--questions 3200] [--counted max|sum|used]

3,200 questions with a JPEG of 1024 x 1024 each (765 tokens); 800,000 tokens per minute, continuous
refill, a full minute in the bucket at the start; an answer takes 4 s in the median (lognormal,
spread 0.4). All sides: the same mock, questions, `max_tokens` 1024, time-out 60 s. `--faults` adds
5 % HTTP 500 and 2 % requests that hang. `reckoning` says what the figures mean. PYTHON is the
interpreter of a venv with the peer (bespokelabs-curator 0.1.31; distilabel[openai] 1.5.3 with
requests and pillow). `--memory` asks 1,000 and 50,000 small questions of a mock without latency.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.distill import load
from benchmarks.distill.reckoning import Figures, reckon
from benchmarks.distill.served import bill, mock

HERE = Path(__file__).parent
TOKENS_PER_MINUTE = 800_000
REQUESTS_PER_MINUTE = 10_000
MODEL = "gpt-4o-2024-05-13"
LATENCY = ("--latency", "4", "--spread", "0.4")
FAULTS = ("--fault", "http_500=0.05", "--fault", "hang=0.02")
MEMORY = (1_000, 50_000)
TOKENIZERS = "lib/python3.11/site-packages/litellm/litellm_core_utils/tokenizers"
"""Where curator's litellm brings the tokenizer that tiktoken would download."""


def main() -> None:
    """Measure what was asked for, print it, write it."""
    options = _options()
    sides = {"ours": sys.executable}
    if options.peers:
        sides |= {"curator": options.curator, "distilabel": options.distilabel}
    found: dict[str, Any] = {"goodput": {}, "memory": {}}
    folder = _prepared(options.cache / f"large-{options.questions}", options.questions)
    for faults in (False, True) if options.faults else (False,):
        for side in options.only or sides:
            name = f"{side}{' with faults' if faults else ''}"
            figures = _goodput(side, sides[side], folder, options, faults=faults)
            found["goodput"][name] = asdict(figures)
            _show(found["goodput"])
    for number in MEMORY if options.memory else ():
        small = _prepared(options.cache / f"small-{number}", number, small=True)
        found["memory"][number] = _memory(small, options)
        print(number, json.dumps(found["memory"][number]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--only", action="append", help="one side, again for more")
    parser.add_argument("--curator", default="venv-curator/bin/python")
    parser.add_argument("--distilabel", default="venv-distilabel/bin/python")
    parser.add_argument("--questions", type=int, default=3200)
    parser.add_argument("--counted", choices=("max", "sum", "used"), default="max")
    parser.add_argument("--told", action="store_true", help="ours is told the limits, too")
    parser.add_argument("--set", action="append", default=[], help="ours: NAME=JSON of distill")
    parser.add_argument("--json", type=Path)
    cache = Path(tempfile.gettempdir()) / "chainsight-distill-benchmark"
    parser.add_argument("--cache", type=Path, default=cache)
    return parser.parse_args()


def _prepared(folder: Path, number: int, *, small: bool = False) -> Path:
    if not (folder / "examples.parquet").exists():
        load.prepare(folder, number, small=small)
    return folder


def _goodput(
    side: str, python: str, folder: Path, options: argparse.Namespace, *, faults: bool
) -> Figures:
    limits = ("--tokens-per-minute", str(TOKENS_PER_MINUTE), "--counted", options.counted)
    limits += ("--requests-per-minute", str(REQUESTS_PER_MINUTE))
    with (
        mock((*LATENCY, *limits, *(FAULTS if faults else ()))) as url,
        tempfile.TemporaryDirectory() as place,
    ):
        said = _ask(side, python, _job(folder, url, place, options))
        print(side, json.dumps(said), flush=True)
        counts, events = bill(url), bill(url, "/events")
    return reckon(events, TOKENS_PER_MINUTE, counts["most_in_flight"])


def _job(folder: Path, url: str, place: str, options: argparse.Namespace) -> dict[str, Any]:
    limits = {"tokens_per_minute": TOKENS_PER_MINUTE, "requests_per_minute": REQUESTS_PER_MINUTE}
    settings = {"concurrency": 512, "max_tokens": 1024, "timeout_seconds": 60.0, "max_retries": 10}
    settings |= {name: json.loads(value) for name, _, value in _pairs(options.set)}
    return {
        "folder": str(folder.resolve()),
        "url": url,
        "place": place,
        "model": MODEL,
        "max_tokens": 1024,
        "timeout": 60,
        "settings": settings | (limits if options.told else {}),
        **limits,
    }


def _pairs(texts: Sequence[str]) -> list[tuple[str, str, str]]:
    return [text.partition("=") for text in texts]


def _ask(side: str, python: str, job: dict[str, Any]) -> dict[str, Any]:
    """Let one side do a job in a process of its own; what it printed last."""
    path = Path(job["place"]) / "job.json"
    path.write_text(json.dumps(job))
    tokenizers = Path(python).parents[1] / TOKENIZERS
    told = {
        "TELEMETRY_ENABLED": "false",  # curator's
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "127.0.0.1",
        **({"TIKTOKEN_CACHE_DIR": str(tokenizers)} if tokenizers.exists() else {}),
    }
    log = path.with_name("log")
    with log.open("w") as file:
        done = subprocess.run(
            [python, str(HERE / f"ask_{side}.py"), str(path)],
            env=os.environ | told,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{log.read_text()[-3000:]}{done.stdout[-1000:]}")
    last: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return last


def _memory(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ask everything once, then again, when everything is in the ledger."""
    with mock(()) as url, tempfile.TemporaryDirectory() as place:
        job = _job(folder, url, place, options)
        first = _ask("ours", sys.executable, job)
        again = _ask("ours", sys.executable, job)
        assert bill(url)["num_billed"] == first["num_asked"]
    return {"first": first, "again": again}


def _show(found: dict[str, dict[str, Any]]) -> None:
    table = Table(
        "side", "answers", "seconds", "steady", "whole", "useful", "429", "wasted", "flight"
    )
    for side, row in found.items():
        shares = [f"{row[name]:.1%}" for name in ("steady", "whole", "useful", "refused", "wasted")]
        numbers = [str(row["answers"]), f"{row['seconds']:.0f}"]
        table.add_row(side, *numbers, *shares, str(row["most_in_flight"]))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
