"""Our side: the stage as the runner calls it. `python ask_ours.py JOB.json` prints JSON."""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BEFORE_KB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(job: dict[str, Any]) -> dict[str, float]:
    """Run the stage once; the memory it took over an empty interpreter's, the ledger's opening."""
    from chainsight.config import DistillSection
    from chainsight.context import Context
    from chainsight.stages import distill

    opened: list[float] = []
    original: Any = distill.open_ledger

    @contextmanager
    def timed(*arguments: Any, **named: Any) -> Iterator[Any]:
        start = time.perf_counter()
        with original(*arguments, **named) as ledger:
            opened.append(time.perf_counter() - start)
            yield ledger

    distill.open_ledger = timed
    place, output = Path(job["place"]), Path(job["place"]) / "output"
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    metrics = distill.run(
        DistillSection(teacher=job["url"], max_failed_rate=0.5, **job["settings"]),
        examples=Path(job["folder"]),
        rationales=output,
        context=Context(work=place / "work", ledger=place / "ledger"),
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "open_seconds": sum(opened),
        "over_start_mb": (used.ru_maxrss - BEFORE_KB) / 1000,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "num_asked": metrics["num_asked"],
        "num_from_ledger": metrics["num_from_ledger"],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
