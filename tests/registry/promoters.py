"""A process full of promoters: each thread promotes another version, all at once."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path


def promote_all(
    config: Path, environment: Mapping[str, str], numbers: Sequence[int], begin: Barrier, log: Path
) -> None:
    """Promote each version in a thread of its own; what goes wrong ends in `log` and code 1."""
    os.environ.update(environment)
    sys.stderr = log.open("w")

    def one(number: int) -> None:
        from chainsight.config import load_config
        from chainsight.promotion import open_place, promote

        place = open_place(load_config(config))
        begin.wait(120)
        promote(place, version=number, who=f"promoter-{number}")

    with ThreadPoolExecutor(len(numbers)) as pool:
        list(pool.map(one, numbers))
