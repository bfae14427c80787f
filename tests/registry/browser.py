"""MLflow's pages in a headless chromium, used as a person uses them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import chromium
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import WebDriverWait

WAIT_SECONDS = 30
WIDTH, HEIGHT = 1360, 1000
_ASSISTANT = "[data-component-id='mlflow.assistant.chat_panel.close']"
_EDIT_ALIASES = "[data-component-id*='modelversionviewaliaseditor']"
_SAVE_ALIASES = "[data-component-id='mlflow.edit-aliases-modal.save-button']"


class Pages:
    """One browser window, logged in."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self._url = driver, url

    def log_in(self, user: str, password: str) -> None:
        """Answer the browser's own dialogue; it keeps the answer for this address."""
        scheme, _, rest = self._url.partition("://")
        self.driver.get(f"{scheme}://{quote(user)}:{quote(password)}@{rest}/version")

    def version(self, name: str, number: int) -> str:
        """Open a version's page; the text on it."""
        self.driver.get(f"{self._url}/#/models/{name}/versions/{number}")
        heading = (By.XPATH, f"//*[normalize-space()='Version {number}']")
        self._wait(expected.visibility_of_element_located(heading))
        self._close_assistant()
        return self.text()

    def model(self, name: str) -> str:
        """Open a model's page, with the list of its versions; the text on it."""
        self.driver.get(f"{self._url}/#/models/{name}")
        self._wait(expected.visibility_of_element_located((By.LINK_TEXT, "Version 1")))
        self._close_assistant()
        return self.text()

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def edit_aliases(self) -> WebElement:
        """Click the pencil beside a version's aliases; the dialogue."""
        self._click(_EDIT_ALIASES)
        return self._wait(
            expected.visibility_of_element_located((By.CSS_SELECTOR, "[role=dialog] input"))
        )

    def add_alias(self, field: WebElement, alias: str) -> None:
        field.send_keys(alias, Keys.ENTER)
        chosen = (By.XPATH, f"//*[@role='dialog']//*[@title='{alias}']")
        self._wait(expected.visibility_of_element_located(chosen))

    def save_aliases(self) -> None:
        self._click(_SAVE_ALIASES)

    def wait_for(self, text: str) -> None:
        self._wait(lambda _: text in self.text())

    def dialogue_closed(self) -> None:
        dialogue = (By.CSS_SELECTOR, "[role=dialog] input")
        self._wait(expected.invisibility_of_element_located(dialogue))

    def picture(self, path: Path) -> None:
        """Save what is to be seen, in few colours: text stays legible, the file small."""
        chromium.save(self.driver.get_screenshot_as_png(), path)

    def _close_assistant(self) -> None:
        for button in self.driver.find_elements(By.CSS_SELECTOR, _ASSISTANT):
            button.click()

    def _click(self, selector: str) -> None:
        self._wait(expected.element_to_be_clickable((By.CSS_SELECTOR, selector))).click()

    def _wait(self, condition: object) -> WebElement:
        found: WebElement = WebDriverWait(self.driver, WAIT_SECONDS).until(condition)  # type: ignore[arg-type]
        return found


@contextmanager
def opened(url: str, hosts: tuple[str, ...]) -> Iterator[Pages]:
    """A browser to which `hosts` are names of this machine."""
    names = ",".join(f"MAP {host} 127.0.0.1" for host in hosts)
    with chromium.launched(WIDTH, HEIGHT, f"--host-resolver-rules={names}") as driver:
        yield Pages(driver, url)
