"""images.lock.json -> values that name our images by digest: what docker/build.sh pushed.

python k8s/digests.py images.lock.json > digests.json
helm upgrade --install ... -f digests.json --set images.requireDigests=true
"""

import json
import sys
from pathlib import Path
from typing import Any


def values(lock: dict[str, Any]) -> dict[str, Any]:
    """The chart's section `images`, for stages and services.

    Raises:
        SystemExit: an image was not pushed, so that it has no digest.
    """
    named = {name: entry["image"] for name, entry in (lock["images"] | lock["services"]).items()}
    loose = [image for image in named.values() if "@sha256:" not in image]
    if loose:
        sys.exit(f"no digest: {', '.join(loose)}; docker/build.sh --push writes them")
    split = {name: image.split("@") for name, image in named.items()}
    images = {n: {"repository": r, "tag": "", "digest": d} for n, (r, d) in split.items()}
    return {"images": {"prefix": "", **images}}


if __name__ == "__main__":
    print(json.dumps(values(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), indent=2))
