"""The container image of each stage, by default `chainsight-<stage>:<version>`.

`CHAINSIGHT_IMAGE_PREFIX` puts a registry and path before every name; `CHAINSIGHT_IMAGE_<STAGE>`
replaces one image. Both are read when a pipeline is compiled.
"""

import os

from chainsight import __version__


def image(stage: str) -> str:
    """The image that runs `stage`."""
    prefix = os.environ.get("CHAINSIGHT_IMAGE_PREFIX", "")
    default = f"{prefix}chainsight-{stage}:{__version__}"
    return os.environ.get(f"CHAINSIGHT_IMAGE_{stage.upper()}", default)
