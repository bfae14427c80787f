"""MLflow's pages, as a person sees and uses them: the version with its card, the alias moved."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
import chromium
import pytest
from desk import Desk
from processes import until
from stack import EXTERNAL, PASSWORDS, SERVICE, Stack

from chainsight.promotion import Log

pytestmark = [pytest.mark.slow, pytest.mark.browser]
PICTURES = Path(__file__).parents[2] / "docs" / "img"
NOTICED_SECONDS = 60


@pytest.fixture
def pages(stack: Stack, request: pytest.FixtureRequest) -> Iterator[browser.Pages]:
    """The promoter's browser, at the address that people outside of the cluster use."""
    if not chromium.installed():
        if not request.config.getoption("--if-possible", default=False):
            pytest.exit(chromium.MISSING, returncode=1)
        pytest.skip(f"NOTHING OF THE PAGES WAS SHOWN HERE: {chromium.MISSING}")
    url = f"http://{EXTERNAL}:{stack.mlflow.port}"
    with browser.opened(url, (EXTERNAL, SERVICE, "elsewhere.example.com")) as found:
        found.log_in("promoter", PASSWORDS["promoter"])
        yield found


def two_versions(desk: Desk) -> None:
    """Version 1 is champion, version 2 is better and challenges."""
    for number, num_right in ((1, 60), (2, 100)):
        assert desk.register(desk.candidate(number, num_right, small=True)).code == 0


def test_a_person_reads_the_page_of_a_version_and_moves_the_alias(
    desk: Desk, pages: browser.Pages
) -> None:
    desk.rename("chainsight")  # it is to be seen in the pictures
    two_versions(desk)
    with watching(desk):
        until("the first champion", lambda: actions(desk) == ["adopted"], NOTICED_SECONDS)
        shown = pages.version(desk.name, 2)
        pages.picture(PICTURES / "mlflow-version.png")
        assert "@ challenger" in shown
        for text in card_and_tags(desk):
            assert text in shown
        pages.add_alias(pages.edit_aliases(), "champion")
        pages.wait_for("is also being used on version 1")
        pages.picture(PICTURES / "mlflow-move-alias.png")
        pages.save_aliases()
        until("the move", lambda: desk.registry.aliases(desk.name)["champion"] == 2)
        noticed = lambda: actions(desk) == ["adopted", "adopted"]  # noqa: E731
        seconds = until("the reconciler's notice", noticed, NOTICED_SECONDS)
        print(f"noticed after {seconds:.0f} s")
        until("previous", lambda: desk.registry.aliases(desk.name).get("previous") == 1)
    assert "@ champion" in pages.version(desk.name, 2)
    listed = pages.model(desk.name)
    pages.picture(PICTURES / "mlflow-model.png")
    assert "@ champion" in listed
    assert "@ previous" in listed


@contextmanager
def watching(desk: Desk) -> Iterator[None]:
    """The reconciler, as the chart runs it."""
    process, _, _ = desk.begin("watch-registry", user="promoter")
    try:
        yield
    finally:
        process.terminate()
        process.join()


def actions(desk: Desk) -> list[str]:
    return [entry.action for entry in Log(desk.store, desk.name).entries()]


def card_and_tags(desk: Desk) -> list[str]:
    """What the page must show: each tag, and the headings of the card."""
    version = desk.registry.version(desk.name, 2)
    headings = re.findall(r"^#+ (.*)$", version.description, re.MULTILINE)
    assert len(headings) > 3
    names = ("chainsight.gate", "chainsight.content_digest", "chainsight.aligned_uri")
    return [*names, *(version.tags[name] for name in names), *headings]


def test_pages_of_an_origin_that_is_not_allowed_show_but_change_nothing(
    desk: Desk, stack: Stack, pages: browser.Pages
) -> None:
    """A server's own address is no exception: whoever uses a name must list it as an origin."""
    two_versions(desk)
    inside = browser.Pages(pages.driver, f"http://{SERVICE}:{stack.mlflow.port}")
    inside.log_in("promoter", PASSWORDS["promoter"])
    assert "@ challenger" in inside.version(desk.name, 2)
    inside.add_alias(inside.edit_aliases(), "champion")
    inside.save_aliases()
    inside.wait_for("INTERNAL_ERROR")  # all that the page says of the refusal
    assert desk.registry.aliases(desk.name) == {"challenger": 2, "champion": 1}


def test_a_host_that_is_not_allowed_is_refused(stack: Stack, pages: browser.Pages) -> None:
    pages.driver.get(f"http://elsewhere.example.com:{stack.mlflow.port}/")
    assert "Invalid Host header" in pages.text()
