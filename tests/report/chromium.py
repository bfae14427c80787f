"""A headless chromium for tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

MISSING = (
    "chromium and its driver are not on this machine, and pages are proved in them: "
    "apt-get install chromium chromium-driver, then run again"
)


WIDTH, HEIGHT = 1280, 800


def installed() -> bool:
    return all(shutil.which(name) for name in ("chromium", "chromedriver"))


@contextmanager
def launched(width: int, height: int, *flags: str) -> Iterator[webdriver.Chrome]:
    """A browser whose window, frame and all, has this size; what its console says is kept."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (
        "--headless=new",
        "--no-sandbox",  # root has none, and everything here is our own
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-proxy-server",
        f"--window-size={width},{height}",
        *flags,
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def inner(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    """A browser whose page alone is WIDTH x HEIGHT; skips or ends where there is none."""
    if not installed():
        if not request.config.getoption("--if-possible"):
            pytest.exit(MISSING, returncode=1)
        pytest.skip(f"THE REPORT WAS NOT SHOWN HERE: {MISSING}")
    with launched(WIDTH, HEIGHT, "--hide-scrollbars") as driver:
        frame = driver.execute_script("return outerHeight - innerHeight")
        driver.set_window_size(WIDTH, HEIGHT + frame)
        yield driver


def dark(driver: webdriver.Chrome, chosen: bool) -> None:
    """Whether the system prefers dark pages."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if chosen else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def save(png: bytes, path: Path) -> None:
    """Save a picture in few colours: text stays legible, the file small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(BytesIO(png)).convert("RGB").quantize(128).save(path, optimize=True)
