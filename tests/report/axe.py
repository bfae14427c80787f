"""axe-core, which finds faults of accessibility (MPL-2.0; it is fetched for the check alone)."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""Of `axe.min.js` of that version."""
MISSING = (
    f"axe-core {VERSION} could not be fetched with npm (apt-get install npm), so that its rules of "
    "accessibility were not checked here"
)


def source(request: pytest.FixtureRequest) -> str:
    """The source of axe; skips or ends where it cannot be had."""
    found = script(request.config.cache.mkdir("axe"))
    if found is None:
        if not request.config.getoption("--if-possible"):
            pytest.exit(MISSING, returncode=1)
        pytest.skip(MISSING)
    return found


def faults(driver: webdriver.Chrome, source: str) -> list[tuple[str, str, list[str]]]:
    """Each violation on the page, everything that folds unfolded: impact, rule, some places."""
    driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    driver.execute_script(source)
    found: dict[str, Any] = driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(found => done(found))"
    )
    assert found["testEngine"]["version"] == VERSION
    assert len(found["passes"]) > 15
    return [
        (one["impact"], one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found["violations"]
    ]


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
