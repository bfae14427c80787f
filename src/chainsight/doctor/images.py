"""The images that a pipeline will start: each pinned to a digest, so that a run is one thing."""

import re
from collections.abc import Mapping

from chainsight.doctor.check import Checks, fail, ok

PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def images(references: Mapping[str, str]) -> Checks:
    """Whether every image of `references` (by stage) is named by its digest."""
    loose = {stage: ref for stage, ref in references.items() if not PINNED.fullmatch(ref)}
    for stage, ref in loose.items():
        yield fail(
            "images",
            f"{stage}: {ref or '(none)'} is a tag, which may be another image tomorrow",
            "build and push the images, which writes their digests to images.lock.json, or set "
            f"CHAINSIGHT_IMAGE_{stage.upper()} to name@sha256:...",
        )
    if not loose:
        yield ok("images", f"{len(references)} images, each by its digest")
