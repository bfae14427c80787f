"""`prepare` against plain `datasets.load_dataset` + `map`, on many rows with images.

    python benchmarks/prepare.py --rows 5000 --folder /tmp/bench    # 200,000 rows by default

Draws a data set with ChartQA's columns (800 x 600 pictures of 70 to 100 kB, four questions each,
row groups of 100 as the hub has them), then lets both contenders read it by turns, each in
processes of its own. Both decode every picture and hash its pixels. Then `map` has hashes, while
`prepare` has compared the rows with the benchmarks and each other and written those that may stay.

For 200,000 rows 50 GB of disk must be free: the data are 4.3 GB, as equal images of a row group
are stored once, but `datasets` copies them twice, 16 GB each. It is no dependency of ours: install
it for this, or say `--only prepare`. On a machine that others use, believe CPU seconds.
"""

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageChops, ImageDraw

SIZE = (800, 600)
ROWS_PER_FILE = 5_000
ROWS_PER_GROUP = 100
DRAWINGS = 2_048
BENCHMARK_ROWS = 100
CONTENDERS = ("prepare", "datasets")
SAMPLING_SECONDS = 0.2
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("query", pa.string()),
        ("label", pa.list_(pa.string())),
        ("human_or_machine", pa.int64()),
    ]
)

# --- data ------------------------------------------------------------------------------------


def picture(number: int) -> bytes:
    """An image file like no other, though of `DRAWINGS` drawings: decoders pass over its end."""
    return draw(number % DRAWINGS) + number.to_bytes(8, "little")


@cache
def draw(seed: int) -> bytes:
    """Three photographs (JPEG), then a chart (PNG), by turns."""
    rng = random.Random(seed)
    return _chart(rng) if seed % 4 == 3 else _photograph(rng)


def _photograph(rng: random.Random) -> bytes:
    """Soft shapes under a fine grain."""
    shapes = Image.frombytes("RGB", (10, 8), rng.randbytes(240)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    grain = (
        Image.frombytes("L", (200, 150), rng.randbytes(30_000)).resize(SIZE).point(lambda v: v // 5)
    )
    return _encoded(ImageChops.add(shapes, Image.merge("RGB", [grain] * 3)), "JPEG", quality=88)


def _chart(rng: random.Random) -> bytes:
    """Bars, and a patch of noise for size."""
    image = Image.new("RGB", SIZE, "white")
    canvas = ImageDraw.Draw(image)
    for left in range(20, 780, 60):
        colour = tuple(rng.randbytes(3))
        canvas.rectangle((left, rng.randrange(40, 560), left + 45, 580), fill=colour)
    image.paste(Image.frombytes("RGB", (160, 130), rng.randbytes(62_400)), (620, 10))
    return _encoded(image, "PNG", compress_level=1)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_file(path: Path, first: int, count: int, questions: int) -> None:
    """`count` rows from number `first` on, `questions` to a picture."""
    unfinished = path.with_suffix(".part")
    with pq.ParquetWriter(unfinished, SCHEMA, compression="snappy") as writer:
        for start in range(first, first + count, ROWS_PER_GROUP):
            numbers = range(start, min(start + ROWS_PER_GROUP, first + count))
            rows = [_row(number, picture(number // questions)) for number in numbers]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    unfinished.rename(path)


def _row(number: int, image: bytes) -> dict[str, Any]:
    return {
        "image": {"bytes": image, "path": f"{number}.png"},
        "query": f"How many cars were sold in year {number}?",
        "label": [str(number)],
        "human_or_machine": number % 2,
    }


def make_data(folder: Path, rows: int, questions: int) -> None:
    """The splits `train`, and `val` with a drawing of its own; files that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = -(-rows // ROWS_PER_FILE)
    for part in range(parts):
        path = folder / f"train-{part:05d}-of-{parts:05d}.parquet"
        if not path.exists():
            first = part * ROWS_PER_FILE
            write_file(path, first, min(ROWS_PER_FILE, rows - first), questions)
    held_out = folder / "val-00000-of-00001.parquet"
    if not held_out.exists():
        rows_of_one = [_row(number, draw(DRAWINGS)) for number in range(BENCHMARK_ROWS)]
        pq.write_table(pa.Table.from_pylist(rows_of_one, SCHEMA), held_out, row_group_size=100)


# --- contenders ------------------------------------------------------------------------------


def run_prepare(data: Path, work: Path, rows: int) -> dict[str, float]:
    """The stage as the runner calls it."""
    from chainsight.config import PrepareSection
    from chainsight.context import Context
    from chainsight.stages import prepare

    sources = [{"dataset": "chartqa", "split": s, "source": str(data)} for s in ("train", "val")]
    config = PrepareSection.model_validate({"examples": sources[:1], "benchmarks": sources[1:]})
    folders = {kind: work / kind for kind in ("examples", "benchmarks", "inventory")}
    for folder in folders.values():
        folder.mkdir()
    metrics = prepare.run(config, **folders, context=Context(work=work, ledger=work))
    assert metrics["num_examples"] == rows, metrics
    return metrics


def run_datasets(data: Path, work: Path, rows: int) -> dict[str, float]:
    """What one would write without us."""
    try:
        import datasets
    except ImportError:
        sys.exit(
            "the comparison needs the package datasets: pip install datasets, or --only prepare"
        )
    datasets.disable_progress_bars()
    num_rows = 0
    for split in ("val", "train"):
        loaded = datasets.load_dataset(
            "parquet",
            data_files=str(data / f"{split}-*.parquet"),
            split="train",
            cache_dir=str(work),
        )
        num_rows = len(loaded.map(_digest, num_proc=len(os.sched_getaffinity(0))))
    assert num_rows == rows
    return {"num_rows": num_rows}


def _digest(row: dict[str, Any]) -> dict[str, str]:
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        pixels = image.convert("RGB")
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height}:".encode())
    digest.update(pixels.tobytes())
    return {"digest": digest.hexdigest()}


# --- measuring -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """One run of one contender."""

    contender: str
    rows: int
    seconds: float
    cpu_seconds: float
    """User and system time of all its processes."""
    peak_bytes: int
    """Largest sum of proportional set sizes over all its processes."""
    peak_anonymous_bytes: int
    """The part of it that is no mapped file, and cannot be dropped under pressure."""

    @property
    def line(self) -> str:
        return (
            f"{self.contender:>9} {self.rows:>8,} rows {self.seconds:>8.1f} s "
            f"{self.rows / self.seconds:>8.0f} rows/s {self.cpu_seconds:>8.1f} CPU s "
            f"{self.peak_bytes / 2**20:>7.0f} MiB"
            f" ({self.peak_anonymous_bytes / 2**20:.0f} anonymous)"
        )


def measure(contender: str, data: Path, work: Path, rows: int) -> Result:
    """Run a contender in processes of its own, and watch them."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [sys.executable, __file__, "--contender", contender, "--rows", str(rows)]
    start = time.monotonic()
    process = subprocess.Popen([*command, "--data", str(data), "--work", str(work)])
    peaks = [0, 0]
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
    watching.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    ended.set()
    watching.join()
    shutil.rmtree(work)
    if status:
        sys.exit(f"{contender} failed")
    return Result(contender, rows, seconds, usage.ru_utime + usage.ru_stime, *peaks)


def _watch(root: int, peaks: list[int], ended: threading.Event) -> None:
    while not ended.wait(SAMPLING_SECONDS):
        now = [_memory(pid) for pid in _tree(root)]
        for i in range(2):
            peaks[i] = max(peaks[i], sum(one[i] for one in now))


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    found = [root]
    for pid in found:
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += [int(child) for child in tasks.read_text().split()]
            except OSError:
                continue
    return found


def _memory(pid: int) -> tuple[int, int]:
    """Proportional set size in bytes, and its anonymous part; 0 for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: line.split() for line in text.splitlines()[1:]}
    return int(sizes["Pss"][1]) * 1024, int(sizes["Pss_Anon"][1]) * 1024


def summary(results: list[Result]) -> dict[str, Any]:
    """Medians of each contender, and how many times as fast the first is."""
    medians = {
        contender: {
            key: statistics.median(asdict(r)[key] for r in results if r.contender == contender)
            for key in ("seconds", "cpu_seconds", "peak_bytes", "peak_anonymous_bytes")
        }
        for contender in dict.fromkeys(r.contender for r in results)
    }
    found: dict[str, Any] = {"medians": medians, "runs": [asdict(result) for result in results]}
    if len(medians) == 2:
        for key in ("seconds", "cpu_seconds"):
            found[f"speedup_in_{key}"] = medians["datasets"][key] / medians["prepare"][key]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--questions", type=int, default=4, help="questions a picture")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each contender")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-results"), help="for data and results"
    )
    parser.add_argument("--only", choices=CONTENDERS)
    for own in ("--contender", "--data", "--work"):
        parser.add_argument(own, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        contend = {"prepare": run_prepare, "datasets": run_datasets}[given.contender]
        contend(Path(given.data), Path(given.work), given.rows)
        return
    data = given.folder.resolve() / f"data-{given.rows}-{given.questions}"
    make_data(data, given.rows, given.questions)
    num_bytes = sum(path.stat().st_size for path in data.iterdir())
    print(f"{given.rows:,} rows, {given.questions} questions a picture, {num_bytes / 1e9:.1f} GB")
    results = []
    for _ in range(given.rounds):
        for contender in CONTENDERS if given.only is None else (given.only,):
            results.append(measure(contender, data, given.folder.resolve() / "work", given.rows))
            print(results[-1].line, flush=True)
    found = summary(results) | {"num_bytes": num_bytes, "questions": given.questions}
    target = given.folder / f"prepare-{given.rows}-{given.questions}.json"
    target.write_text(json.dumps(found, indent=2) + "\n")
    for key in ("seconds", "cpu_seconds"):
        if f"speedup_in_{key}" in found:
            print(f"prepare is {found[f'speedup_in_{key}']:.2f} times as fast in {key}")


if __name__ == "__main__":
    main()
