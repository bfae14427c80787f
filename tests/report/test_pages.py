"""All other pages, left by the commands themselves, in a headless chromium and for everybody."""

from collections.abc import Iterator
from pathlib import Path

import axe
import chromium
import pytest
from chromium import dark
from selenium import webdriver
from selenium.webdriver.common.by import By
from workplace import ROOT, Workplace

pytestmark = [pytest.mark.slow, pytest.mark.browser]
Driver = webdriver.Chrome
CONFIG = "configs/smoke.yaml"
FEW = {"verify__num_candidates": 2, "verify__max_new_tokens": 16}
GRID = f"""
name: tiny
run: {ROOT / CONFIG}
seeds: [0, 1]
settings:
  both: {{recipe: sft}}
  both + DPO: {{recipe: dpo, verify: true}}
claims:
  - {{name: it helps, better: both + DPO, than: both}}
  - name: votes
    better: {{setting: both + DPO, method: weighted, n: 2}}
    than: {{setting: both + DPO, method: majority, n: 2}}
"""
PAGES = (
    "smoke/report.html",
    "smoke/verification.html",
    "smoke/paper.html",
    "smoke/compare.html",
    "tiny/ablation.html",
    "tiny/paper.html",
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's pages and an ablation's."""
    root = tmp_path_factory.mktemp("pages")
    grid = root / "grid.yaml"
    grid.write_text(GRID)
    place = Workplace(root / "home", {"MLFLOW_TRACKING_URI": ""})
    place.run(CONFIG)
    place.call("verify", CONFIG, **FEW)
    place.call("ablate", str(grid), **FEW)
    place.call("report", CONFIG, "--paper")
    place.call("report", CONFIG, "--compare", f"{ROOT / CONFIG}#policy", str(ROOT / CONFIG))
    place.call("report", str(grid), "--paper", **FEW)
    return place.home / "reports"


@pytest.fixture(scope="module")
def window(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with chromium.inner(request) as driver:
        yield driver


@pytest.fixture(params=PAGES)
def shown(window: Driver, reports: Path, request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Each page from disk; nothing was said on the console when the test is done."""
    window.get("about:blank")
    window.get((reports / request.param).as_uri())
    yield window
    assert window.get_log("browser") == []


def test_it_is_whole(shown: Driver) -> None:
    assert shown.find_element(By.TAG_NAME, "h1").text
    assert shown.execute_script("return [...document.images].every(i => i.naturalWidth > 0)")
    wide = "return document.documentElement.scrollWidth - innerWidth"
    assert shown.execute_script(wide) <= 0, "the page scrolls sideways"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(shown: Driver, request: pytest.FixtureRequest, scheme: str) -> None:
    source = axe.source(request)
    dark(shown, scheme == "dark")
    assert axe.faults(shown, source) == []
    dark(shown, False)
