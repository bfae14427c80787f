"""MLflow's pages, as a person sees and uses them: the version with its card, the alias moved."""

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from desk import Desk
from processes import until
from stack import EXTERNAL, PASSWORDS, SERVICE, Stack

pytestmark = [pytest.mark.slow, pytest.mark.browser]
PICTURES = Path(__file__).parents[2] / "docs" / "img"
NOTICED_SECONDS = 60


@pytest.fixture
def pages(stack: Stack, request: pytest.FixtureRequest) -> Iterator[browser.Pages]:
    """The promoter's browser, at the address that people outside of the cluster use."""
    if not browser.installed():
        if not request.config.getoption("--if-possible", default=False):
            pytest.exit(browser.MISSING, returncode=1)
        pytest.skip(f"NOTHING OF THE PAGES WAS SHOWN HERE: {browser.MISSING}")
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
    shown = pages.version(desk.name, 2)
    pages.picture(PICTURES / "mlflow-version.png")
    assert "@ challenger" in shown
    version = desk.registry.version(desk.name, 2)
    for name in ("chainsight.gate", "chainsight.content_digest", "chainsight.aligned_uri"):
        assert name in shown
        assert version.tags[name] in shown
    pages.add_alias(pages.edit_aliases(), "champion")
    pages.wait_for("is also being used on version 1")
    pages.picture(PICTURES / "mlflow-move-alias.png")
    pages.save_aliases()
    until("the alias", lambda: desk.registry.aliases(desk.name)["champion"] == 2, NOTICED_SECONDS)
    pages.wait_for("@ champion")
    assert "@ champion" in pages.model(desk.name)
    pages.picture(PICTURES / "mlflow-model.png")


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
