"""Where a key is found, and that it is cut out of whatever is quoted."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from chainsight.errors import ConfigError
from chainsight.teacher.keys import HIDDEN, NO_KEY, clean, find, forms, hide, read

KEY = "sk-proj-a/b+c=d_0123456789"


def test_the_file_comes_before_the_variable_and_the_variable_before_the_mounted_secret(
    tmp_path: Path,
) -> None:
    file, mounted = tmp_path / "key", tmp_path / "secret"
    file.write_text(" sk-file \n")
    mounted.mkdir()
    (mounted / "NAME").write_text("sk-mounted\n")
    environment = {"NAME": " sk-variable\n"}
    found = find("NAME", str(file), environment, mounted)
    assert (found.value, found.file, found.place) == ("sk-file", file, f"the file {file}")
    found = find("NAME", None, environment, mounted)
    assert (found.value, found.file) == ("sk-variable", None)
    found = find("NAME", None, {"NAME": " "}, mounted)
    assert (found.value, found.file) == ("sk-mounted", mounted / "NAME")
    found = find("OTHER", None, environment, mounted)
    assert (found.value, found.place) == ("", "the environment variable OTHER")


def test_no_key_is_shown_by_its_repr(tmp_path: Path) -> None:
    assert KEY not in repr(find("NAME", None, {"NAME": KEY}, tmp_path))


@pytest.mark.parametrize("content", [b"", b"\n", b"sk-one\nsk-two\n", "sk-é".encode(), b"\xff\x00"])
def test_a_file_that_holds_no_key_is_refused_unseen(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="the file") as caught:
        find("NAME", str(file), {"NAME": KEY})
    assert "sk-" not in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/key: .*No such file.*distill\.api_key_file"):
        read(Path("/nowhere/key"))


@pytest.mark.parametrize("before", [b"", b"u", b"u:", b"Bearer ", b"user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_key_in_base64_is_hidden_whatever_stands_before_and_after(
    before: bytes, encode: Callable[[bytes], bytes]
) -> None:
    for after in (b"", b"x", b"xy"):
        token = encode(before + KEY.encode() + after).decode()
        hidden = hide(f"Authorization: Basic {token}.", KEY)
        assert HIDDEN in hidden
        assert token[12:-12] not in hidden


def test_a_key_is_hidden_plain_in_a_header_and_in_a_url() -> None:
    said = f"Bearer {KEY}, https://x/?key=sk-proj-a%2Fb%2Bc%3Dd_0123456789"
    assert hide(said, KEY) == f"Bearer {HIDDEN}, https://x/?key={HIDDEN}"


def test_what_is_no_key_stays() -> None:
    assert hide(f"{NO_KEY} of these", NO_KEY) == "none of these"
    assert hide("all of it", "") == "all of it"
    assert clean({"a": ["bar", 1, None]}, "bar") == {"a": ["bar", 1, None]}  # too short to be one
    assert hide("your key bar", "bar") == f"your key {HIDDEN}"  # but it is in an error


def test_every_text_of_an_answer_loses_the_key() -> None:
    answer = {"a": [{"b": f"x {KEY} y"}, 1.5, True, None], KEY: "name"}
    assert clean(answer, KEY) == {"a": [{"b": f"x {HIDDEN} y"}, 1.5, True, None], HIDDEN: "name"}


def test_the_forms_of_a_key_are_long_enough_to_be_nothing_else() -> None:
    assert min(map(len, forms(KEY))) >= 16
