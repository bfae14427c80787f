"""Ours against TRL, `generate` and vLLM on a GPU, with a LLaVA-NeXT of 8B shape.

    PYTHONPATH=src:. python -m benchmarks.gpu [--only SUITE] [--tiny]

Random weights from the configuration, bfloat16, P = 2,962 and R about 90. CUDA events, peak memory
beyond weights and gradients, and utilisation: FLOPs of the work without anything done twice,
per second, against the chip's dense bfloat16 peak. `--tiny` runs the same code on a CPU.
Writes gpu.json and gpu.md into bench-results. 141 GB hold all cases; what does not fit is said.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import cases, engines, peers, results
from benchmarks.llava import EIGHT_B, TINY
from benchmarks.measuring import Case, Clock, Result, measure
from benchmarks.stand import Place, Stand

CANDIDATES = 32

Suite = Callable[[Place], Iterator[Case]]


def dpo_lora(place: Place) -> Iterator[Case]:
    """DPO with adapters, and the scores of candidates."""
    stand = Stand(place, "dpo", "lora")
    yield from cases.on_dpo(stand, curve=(1, 4), gradients=place.shape is TINY)
    yield from cases.unfavourable(stand)
    yield cases.scoring(stand, CANDIDATES, goal=10)
    yield cases.data(stand, 4, goal=1 / 0.55)


def dpo_full(place: Place) -> Iterator[Case]:
    """DPO of all weights; policy, reference and gradients are 48 GB before the first step."""
    yield from cases.on_dpo(Stand(place, "dpo", "full"), curve=(1,), gradients=place.shape is TINY)


def sft(place: Place) -> Iterator[Case]:
    """SFT with adapters."""
    yield from cases.on_sft(place, "lora")


def sampling(place: Place) -> Iterator[Case]:
    """Candidates of one prompt."""
    yield cases.sampling(place, CANDIDATES, goal=5)


SUITES: dict[str, Suite] = {
    "dpo-lora": dpo_lora,
    "dpo-full": dpo_full,
    "sft": sft,
    "sampling": sampling,
}


def run(place: Place, suites: Sequence[str], rounds: int) -> Iterator[Result | str]:
    """Results, or why a suite has none."""
    clock = Clock(place.device)
    for name in suites:
        fits = True
        try:
            yield from (
                measure(case, clock, rounds, lambda line: print(line, flush=True))
                for case in SUITES[name](place)
            )
        except torch.OutOfMemoryError:
            fits = False
        if not fits:  # said here, as the error would keep what was reserved
            yield f"{name}: does not fit"
        gc.collect()  # a model and its trainer hold each other
        if clock.cuda:
            torch.cuda.empty_cache()


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 if two sides did not find the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU: to try it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[*SUITES, "vllm"], action="append")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-results"), help="for the results"
    )
    options = parser.parse_args(given)
    if not options.tiny and not torch.cuda.is_available():
        sys.exit("no GPU is here; --tiny runs the same code on the CPU")
    place = Place(TINY) if options.tiny else Place(EIGHT_B, "cuda", torch.bfloat16)
    suites = [name for name in options.only or SUITES if name in SUITES]
    about: dict[str, Any] = results.machine(place.device) | {"shape": str(place.shape)}
    about["settings"] = [f"{one.name}: {one.flags}" for one in (peers.tuned(), peers.DEFAULT)]
    start = time.monotonic()
    made = list(run(place, suites, 1 if options.tiny else options.rounds))
    found = [one for one in made if isinstance(one, Result)]
    about["refused"] = [one for one in made if isinstance(one, str)]
    if not options.tiny and (options.only is None or "vllm" in options.only):
        with tempfile.TemporaryDirectory() as folder:
            about["vllm"] = engines.vllm(place, CANDIDATES, Path(folder))
    about["minutes"] = round((time.monotonic() - start) / 60, 1)
    results.show(found, about, f"ours and others, {place.shape.name}, {place.device}")
    for file in results.write(found, about, options.folder, "gpu"):
        print(file)
    return 0 if all(result.agrees for result in found) else 1


if __name__ == "__main__":
    sys.exit(main())
