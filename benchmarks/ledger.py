"""How long it takes to open a ledger, and what its index weighs.

    PYTHONPATH=src:. python -m benchmarks.ledger --rows 50000 --rows 200000 [--folder FOLDER]

Rows are of 1.5 kB, as long answers of a hundred words are with all that comes along. Each opening
is in a process of its own: with the segments at hand, and in an empty home, with all of them in a
store on the same disk.
"""

import argparse
import hashlib
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from chainsight.store import LocalStore
from chainsight.teacher.ledger import Entry, open_ledger
from chainsight.teacher.segments import MOST_ROWS, format_line

ROW_BYTES = 1_500
RECORDED = 2_000


def key(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def entry(rng: random.Random) -> Entry:
    usage = {"prompt_tokens": 1015, "completion_tokens": 150, "total_tokens": 1165}
    text = rng.randbytes((ROW_BYTES - 300) // 2).hex()
    message = {"role": "assistant", "content": text, "refusal": None}
    return Entry({"choices": [{"index": 0, "message": message}], "usage": usage}, by="http://there")


def fill(folder: Path, num_rows: int) -> None:
    """Write the segments that `record` would have written, without waiting for the disk."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    for start in range(0, num_rows, MOST_ROWS):
        rows = range(start, min(start + MOST_ROWS, num_rows))
        with (folder / f"{start:08d}.jsonl").open("wb") as file:
            file.writelines(format_line(entry(rng).to_json(key(number))) for number in rows)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def opened(home: Path, store: Path) -> None:
    """Open once and say what it took."""
    before, start = peak_mb(), time.monotonic()
    with open_ledger(home / "t", LocalStore(store)) as ledger:
        seconds = time.monotonic() - start
        print(f"{len(ledger):9,} rows in {seconds:5.2f} s, {peak_mb() - before:6.1f} MB more")


def recorded(folder: Path) -> None:
    """Say how many answers a second the disk takes, one after the other."""
    rng, start = random.Random(0), time.monotonic()
    with open_ledger(folder) as ledger:
        for number in range(RECORDED):
            ledger.record(key(number), entry(rng))
    print(f"{RECORDED / (time.monotonic() - start):9,.0f} rows recorded a second, one by one")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--open", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.open:
        return opened(*arguments.open)
    with TemporaryDirectory(dir=arguments.folder) as scratch:
        recorded(Path(scratch) / "recorded/t")
        for num_rows in arguments.rows or [50_000]:
            store = Path(scratch) / f"{num_rows}/store"
            fill(store / "ledger/t", num_rows)
            for title in ("in an empty home, all in the store", "with the segments at hand"):
                print(title, end=": ", flush=True)
                home = Path(scratch) / f"{num_rows}/home"
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.ledger",
                    "--open",
                    str(home),
                    str(store),
                ]
                subprocess.run(command, check=True)
    return None


if __name__ == "__main__":
    main()
