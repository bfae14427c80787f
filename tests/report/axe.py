"""axe-core, which finds faults of accessibility (MPL-2.0; it is fetched for the check alone)."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""Of `axe.min.js` of that version."""
MISSING = (
    f"axe-core {VERSION} could not be fetched with npm (apt-get install npm), so that its rules of "
    "accessibility were not checked here"
)


def script(cache: Path) -> str | None:
    """The source of axe, from `cache` or fetched into it; None: it cannot be had."""
    kept = cache / f"axe-{VERSION}.min.js"
    if not kept.is_file() and not _fetch(kept):
        return None
    content = kept.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256, f"{kept} is not axe-core {VERSION}"
    return content.decode()


def _fetch(target: Path) -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return False
    ask = [npm, "pack", f"axe-core@{VERSION}", "--silent"]
    try:
        subprocess.run(ask, cwd=target.parent, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    with tarfile.open(target.parent / f"axe-core-{VERSION}.tgz") as packed:
        file = packed.extractfile("package/axe.min.js")
        assert file is not None
        target.write_bytes(file.read())
    return True
