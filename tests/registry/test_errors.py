"""What goes wrong outside: one clear error each, exit code 1, and nothing is changed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from breakages import BREAKAGES, deleted
from desk import Desk, Done
from stack import Stack

from chainsight.tracking import ALIGNED_URI

pytestmark = [pytest.mark.slow, pytest.mark.registry]
USERS = {"register": "trainer", "promote": "promoter", "rollback": "promoter"}


@pytest.fixture(scope="module")
def settled(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Version 2 is champion, 1 was before it, 3 challenges."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            patch.setenv(name, value)
        desk = Desk(stack, tmp_path_factory.mktemp("settled"), "settled")
        for number, num_right in ((1, 40), (2, 60), (3, 80)):
            done = desk.register(desk.candidate(100 + number, num_right, small=True))
            assert done.code == 0, done.err
            if number == 2:
                done = desk.call("promote", user="promoter")
                assert done.code == 0, done.err
    return desk


@pytest.fixture
def here(settled: Desk, desk: Desk, tmp_path: Path) -> Desk:
    """The same model, from a folder without anybody's cache."""
    found = replace(settled, folder=tmp_path)
    found.write_config()
    return found


def clear(done: Done, *expected: str) -> None:
    """One error in one paragraph, without a traceback, that names the thing and the way out."""
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error ")]
    for pattern in expected:
        assert re.search(pattern, line), line


@pytest.mark.parametrize("what", BREAKAGES)
@pytest.mark.parametrize("command", USERS)
def test_a_command_says_what_is_wrong_and_changes_nothing(
    here: Desk, command: str, what: str
) -> None:
    breaks, expected = BREAKAGES[what]
    if command == "register":
        inputs = here.candidate(104, 100, small=True)
        about, flags = inputs["aligned"], [f"--{kind}={uri}" for kind, uri in inputs.items()]
    else:
        target = 3 if command == "promote" else 1
        about = here.registry.version(here.name, target).tags[ALIGNED_URI]
        flags = ["--why=to see an error"]
    before = here.state()
    with breaks(here.stack, USERS[command], about) as variables:
        done = here.call(command, *flags, user=USERS[command], **variables)
    print(done.err)
    clear(done, *expected)
    assert here.state() == before


@pytest.mark.parametrize("command", ["promote", "register"])
def test_a_user_without_the_right_changes_nothing(here: Desk, command: str) -> None:
    here.stack.allow("promoter", here.name, "READ")
    inputs = here.candidate(104, 100, small=True)
    flags = [f"--{kind}={uri}" for kind, uri in inputs.items()] if command == "register" else []
    before = here.state()
    done = here.call(command, *flags, user="promoter")
    here.stack.allow("promoter", here.name, "EDIT")
    print(done.err)
    clear(done, "does not allow 'promoter' to do this", "EDIT")
    assert here.state() == before


def test_after_a_failure_the_same_command_succeeds(here: Desk) -> None:
    inputs = here.candidate(105, 100, small=True)
    here.stack.postgres.set_full(True)
    clear(here.register(inputs), "make room there, then run again")
    here.stack.postgres.set_full(False)
    assert here.register(inputs).json["metrics"]["passed"] == 1


def test_what_is_served_is_missing_or_denied(here: Desk) -> None:
    champion = here.registry.version(here.name, 2)
    to = f"--to={here.folder / 'model'}"
    clear(here.call("fetch", to, AWS_SECRET_ACCESS_KEY="wrong"), "AWS_SECRET_ACCESS_KEY")
    with deleted("model.safetensors")(here.stack, "", champion.tags[ALIGNED_URI]):
        clear(here.call("fetch", to), "s3://.*/aligned/.*missing")
    assert not list((here.folder / "model").rglob("*.safetensors"))
