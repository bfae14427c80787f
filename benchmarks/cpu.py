"""Ours against TRL and `generate` on a CPU: `make bench`, or

    OMP_NUM_THREADS=1 PYTHONPATH=src:. python -m benchmarks.cpu [--quick] [--match WORD]

Each case runs all sides on the same weights, by turns, one thread, process time (the machine may
be shared), medians of the rounds. Losses, gradients and samples are compared in the same run, and
a case whose sides don't find the same fails. Writes cpu.json and cpu.md into bench-results.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import cases, evaluating, peers, results
from benchmarks.llava import CPU, TINY
from benchmarks.measuring import Case, Clock, Result, measure
from benchmarks.stand import Place, Stand

CANDIDATES = 32
SEVERAL = 8
"""Pictures of a run of the data path."""

Suite = Callable[[Place, bool], Iterator[Case]]


def dpo_lora(place: Place, quick: bool) -> Iterator[Case]:
    """DPO with adapters, and what a stand with a reference also shows."""
    stand = Stand(place, "dpo", "lora")
    yield from cases.on_dpo(stand, curve=(1, 4) if quick else (1, 2, 4, 8))
    yield from cases.unfavourable(stand)
    yield cases.scoring(stand, 8 if quick else CANDIDATES, goal=10)
    yield cases.data(stand, 2 if quick else SEVERAL, goal=1 / 0.55)


def dpo_full(place: Place, _: bool) -> Iterator[Case]:
    """DPO of all weights of the language model, with a second model as reference."""
    yield from cases.on_dpo(Stand(place, "dpo", "full"), curve=(1,))


def sft(place: Place, _: bool) -> Iterator[Case]:
    """SFT with adapters and of all weights."""
    yield from cases.on_sft(place, "lora")
    yield from cases.on_sft(place, "full")


def sampling(place: Place, quick: bool) -> Iterator[Case]:
    """Candidates of one prompt."""
    yield cases.sampling(place, 8 if quick else CANDIDATES, goal=4)


def evaluation(place: Place, quick: bool) -> Iterator[Case]:
    """Direct and reasoned answers to many questions."""
    yield from evaluating.suite(place.shape, quick)


SUITES: dict[str, Suite] = {
    "dpo-full": dpo_full,
    "sft": sft,
    "sampling": sampling,
    "dpo-lora": dpo_lora,
    "evaluate": evaluation,
}


def run(
    place: Place, suites: Sequence[str], rounds: int, *, quick: bool, match: str = ""
) -> Iterator[Result]:
    """Measure the cases of some suites whose name holds `match`."""
    clock = Clock(place.device)
    for name in suites:
        for case in SUITES[name](place, quick):
            if match in case.name:
                yield measure(case, clock, rounds, lambda line: print(line, flush=True))


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 if two sides did not find the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny model, one round: to try it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(SUITES), action="append")
    parser.add_argument("--match", default="", help="only cases whose name holds this")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-results"), help="for the results"
    )
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    place = Place(TINY if options.quick else CPU)
    rounds = 1 if options.quick else options.rounds
    about = results.machine("cpu") | {"rounds": rounds, "shape": str(place.shape)}
    about["settings"] = [f"{one.name}: {one.flags}" for one in (peers.tuned(), peers.DEFAULT)]
    start = time.monotonic()
    found: list[Result] = []
    suites = options.only or list(SUITES)
    for one in run(place, suites, rounds, quick=options.quick, match=options.match):
        found.append(one)
        about["minutes"] = round((time.monotonic() - start) / 60, 1)
        results.write(found, about, options.folder, "cpu")  # a run that is stopped leaves these
    results.show(found, about, "ours and others, one thread, process time")
    print(f"{options.folder / 'cpu.json'} and cpu.md")
    return 0 if all(result.agrees for result in found) else 1


if __name__ == "__main__":
    sys.exit(main())
