"""The report in a headless chromium: read, filtered, by keyboard, in frames, light and dark."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import axe
import chromium
import pytest
from chromium import HEIGHT, WIDTH, dark
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from chainsight import records
from chainsight.records import Prediction
from chainsight.report import StageResult, build, collect

pytestmark = [pytest.mark.slow, pytest.mark.browser]
Run = dict[str, StageResult]
Driver = webdriver.Chrome
PICTURES = Path(__file__).parents[2] / "docs" / "img"
MOMENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
FRAMES = {
    "KFP": "frame.srcdoc = page",
    "MLflow": "frame.src = URL.createObjectURL(new Blob([page], {type: 'text/html'}))",
}
"""How they show a page in an iframe with sandbox="allow-scripts" (KFP: HTMLViewer.tsx; MLflow:
ShowArtifactHtmlView): it has an origin of its own, no storage and no history."""


@pytest.fixture(scope="module")
def page(finished: Run) -> str:
    return build(collect("demo", finished, created=MOMENT))


@pytest.fixture(scope="module")
def file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def window(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with chromium.inner(request) as driver:
        yield driver


@pytest.fixture
def shown(window: Driver, file: Path) -> Iterator[Driver]:
    """The page from disk, anew; nothing was said on the console when the test is done."""
    window.get("about:blank")
    window.get(file.as_uri())
    yield window
    assert window.get_log("browser") == []


@pytest.fixture(scope="module")
def voices(finished: Run) -> dict[str, dict[tuple[str, str], Prediction]]:
    """What was said to each question, from the artifact."""
    path = finished["evaluate"].folders["predictions"] / "predictions.parquet"
    found: dict[str, dict[tuple[str, str], Prediction]] = {}
    for row in records.read(path, Prediction):
        found.setdefault(row.example_id, {})[row.model, row.mode] = row
    return found


def choose(driver: Driver, **values: str) -> None:
    for name, value in values.items():
        Select(driver.find_element(By.NAME, name)).select_by_value(value)


def count(driver: Driver) -> str:
    return driver.find_element(By.ID, "count").text


def visible(driver: Driver) -> list[str]:
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll('.sample')].filter(s => s.checkVisibility())"
        ".map(s => s.ariaLabel)"
    )
    return found


def all_found(driver: Driver) -> list[str]:
    """The samples of every page of the list."""
    found = visible(driver)
    while (button := driver.find_element(By.ID, "next")).is_enabled():
        button.click()
        found += visible(driver)
    return found


def test_the_overview_is_one_screen(shown: Driver) -> None:
    bottom = shown.execute_script(
        "return document.querySelector('.overview').getBoundingClientRect().bottom"
    )
    assert 0 < bottom < HEIGHT
    words = shown.find_element(By.CSS_SELECTOR, ".overview").text
    for told in ("aligned over base", "significant", "builtin:tiny", "24 questions", "$1.20",
                 "chainsight version 1", "@champion", "Gate passed", "8 min 14 s"):  # fmt: skip
        assert told in words


def test_every_picture_shows(shown: Driver) -> None:
    widths = shown.execute_script(
        "return [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])"
    )
    assert len(widths) >= 40
    assert all(shows and alt.startswith("picture of question ") for shows, alt in widths)


FILTERS: dict[str, tuple[dict[str, str], Callable[[Any], bool]]] = {
    "kind": ({"kind": "won"}, lambda v: right(v, "policy") < right(v, "aligned")),
    "dataset": ({"dataset": "bars"}, lambda v: True),
    "verdict": ({"model": "aligned", "mode": "cot", "verdict": "0"},
                lambda v: not right(v, "aligned")),
    "model": ({"model": "base"}, lambda v: True),
    "mode": ({"mode": "direct", "verdict": "1"},
             lambda v: any(right(v, m, "direct") for m in ("base", "policy", "aligned"))),
    "status": ({"status": "no_marker"}, lambda v: v["base", "cot"].status == "no_marker"),
    "of one answer": ({"model": "policy", "status": "no_marker"}, lambda v: False),
    "won": ({"from": "base/direct", "to": "policy/cot", "flip": "won"},
            lambda v: right(v, "base", "direct") < right(v, "policy")),
    "lost": ({"flip": "lost"}, lambda v: right(v, "policy") > right(v, "aligned")),
    "flipped": ({"flip": "flipped"}, lambda v: right(v, "policy") != right(v, "aligned")),
    "same": ({"flip": "same"}, lambda v: right(v, "policy") == right(v, "aligned")),
}  # fmt: skip


def right(voices: Any, model: str, mode: str = "cot") -> bool:
    return bool(voices[model, mode].score >= 0.5)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_what_it_says(shown: Driver, voices: Any, name: str) -> None:
    values, fits = FILTERS[name]
    expected = [key for key, said in voices.items() if fits(said)]
    choose(shown, **values)
    assert Counter(all_found(shown)) == Counter(expected)
    told = f"{len(expected)} of 40 samples" if expected else "No sample of 40 fits"
    assert count(shown).startswith(told)
    assert len(visible(shown)) <= 10
    shown.find_element(By.CSS_SELECTOR, "[type=reset]").click()
    WebDriverWait(shown, 5).until(lambda d: count(d) == "40 of 40 samples, 1 to 10 shown")


def test_words_are_searched_in_questions_and_answers(shown: Driver, voices: Any) -> None:
    wanted = [key for key in voices if key.endswith("7")]
    shown.find_element(By.NAME, "text").send_keys("TEST/7")
    WebDriverWait(shown, 5).until(lambda d: count(d) == "1 of 40 samples")
    assert visible(shown) == ["bars/test/7"] == wanted[:1]
    shown.find_element(By.NAME, "text").clear()
    shown.find_element(By.NAME, "text").send_keys("jan feb mar")
    guessed = sum(said["base", "cot"].text == "jan feb mar" for said in voices.values())
    WebDriverWait(shown, 5).until(lambda d: count(d).startswith(f"{guessed} of 40"))


def test_a_count_is_announced(shown: Driver) -> None:
    told = shown.find_element(By.ID, "count")
    assert told.aria_role == "status"
    assert told.get_attribute("aria-live") == "polite"


def test_the_samples_are_walked_through_by_keyboard(shown: Driver) -> None:
    focused = lambda: shown.switch_to.active_element.get_attribute("aria-label")  # noqa: E731
    shown.find_element(By.CSS_SELECTOR, ".sample h3 a").send_keys(Keys.ENTER)
    assert focused() == "bars/test/0"
    for _ in range(10):
        shown.switch_to.active_element.send_keys("n")
    assert focused() == "bars/test/10"
    assert count(shown).endswith("11 to 20 shown")
    shown.switch_to.active_element.send_keys("p")
    assert focused() == "bars/test/9"
    assert shown.switch_to.active_element.is_displayed()


def test_tab_reaches_contents_filters_and_list_in_order(shown: Driver) -> None:
    reached: list[str] = []
    while "next" not in reached:
        shown.switch_to.active_element.send_keys(Keys.TAB)
        element = shown.switch_to.active_element
        reached.append(element.get_attribute("name") or element.get_attribute("id") or element.text)
        outline = element.value_of_css_property("outline-style")
        assert outline != "none", reached[-1]
    wanted = ["Skip to the content", "theme", "Overview", "text", "dataset", "flip", "next"]
    places = [reached.index(name) for name in wanted]
    assert places == sorted(places)


def test_a_link_to_a_sample_or_to_filters_leads_there(shown: Driver, file: Path) -> None:
    shown.get("about:blank")
    shown.get(f"{file.as_uri()}#q/bars/test/33")
    assert shown.switch_to.active_element.get_attribute("aria-label") == "bars/test/33"
    choose(shown, flip="lost")
    address = shown.current_url
    assert "#samples?" in address
    found = count(shown)
    assert not found.startswith("40")
    shown.get("about:blank")
    shown.get(address)
    assert count(shown) == found
    assert shown.find_element(By.NAME, "flip").get_attribute("value") == "lost"


def test_light_and_dark_change_by_the_button(shown: Driver) -> None:
    back = lambda: shown.find_element(By.TAG_NAME, "body").value_of_css_property(  # noqa: E731
        "background-color"
    )
    button = shown.find_element(By.ID, "theme")
    assert (back(), button.text) == ("rgba(255, 255, 255, 1)", "Dark page")
    button.click()
    assert (back(), button.text) == ("rgba(15, 20, 26, 1)", "Light page")
    button.click()
    assert back() == "rgba(255, 255, 255, 1)"


def test_dark_is_the_systems_choice_too(shown: Driver) -> None:
    dark(shown, True)
    body = shown.find_element(By.TAG_NAME, "body")
    assert body.value_of_css_property("background-color") == "rgba(15, 20, 26, 1)"
    dark(shown, False)


@pytest.mark.parametrize("host", FRAMES)
def test_in_a_sandboxed_frame_everything_works(shown: Driver, page: str, host: str) -> None:
    shown.get("about:blank")
    shown.execute_script(
        "const page = arguments[0], frame = document.createElement('iframe');"
        "frame.sandbox = 'allow-scripts'; frame.style = 'width: 1000px; height: 700px';"
        f"document.body.append(frame); {FRAMES[host]}",
        page,
    )
    shown.switch_to.frame(0)
    WebDriverWait(shown, 10).until(lambda d: d.find_elements(By.ID, "count"))
    assert shown.execute_script("return origin") == "null"
    shown.find_element(By.LINK_TEXT, "Samples").click()
    assert shown.switch_to.active_element.get_attribute("id") == "samples"
    choose(shown, kind="lost")
    assert not count(shown).startswith("40")
    shown.find_element(By.CSS_SELECTOR, "main .sample:not([hidden]) h3 a").click()
    assert "sample" in str(shown.switch_to.active_element.get_attribute("class"))
    shown.find_element(By.ID, "theme").click()
    assert shown.execute_script("return [...document.images].every(i => i.naturalWidth > 0)")
    shown.switch_to.default_content()


def test_without_the_script_everything_is_there(shown: Driver, page: str) -> None:
    shown.get("about:blank")
    shown.execute_script(
        "const frame = document.createElement('iframe'); frame.sandbox = '';"
        "document.body.append(frame); frame.srcdoc = arguments[0]",
        page.replace("<script>", "<script type='text/plain'>"),
    )
    shown.switch_to.frame(0)
    WebDriverWait(shown, 10).until(lambda d: len(d.find_elements(By.CSS_SELECTOR, ".sample")) == 40)
    assert len(visible(shown)) == 40
    assert not shown.find_element(By.ID, "filters").is_displayed()
    shown.switch_to.default_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(shown: Driver, request: pytest.FixtureRequest, scheme: str) -> None:
    source = axe.source(request)
    dark(shown, scheme == "dark")
    assert axe.faults(shown, source) == []
    dark(shown, False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_the_guide(shown: Driver, tmp_path: Path, scheme: str) -> None:
    """The overview and, below it, the samples."""
    dark(shown, scheme == "dark")
    choose(shown, flip="won")
    parts = []
    for selector, height in ((".overview", 690), ("#samples", 780)):
        shown.execute_script(
            "document.querySelector(arguments[0]).scrollIntoView();"
            "if (arguments[0] === '.overview') scrollTo(0, 0)", selector
        )  # fmt: skip
        shown.save_screenshot(tmp_path / "part.png")
        parts.append(Image.open(tmp_path / "part.png").convert("RGB").crop((0, 0, WIDTH, height)))
    whole = Image.new("RGB", (WIDTH, sum(part.height for part in parts)))
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (0, parts[0].height))
    target = PICTURES / f"report-{scheme}.png"
    whole.quantize(128).save(target, optimize=True)
    assert target.stat().st_size < 200_000
    dark(shown, False)
