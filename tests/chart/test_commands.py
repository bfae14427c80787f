"""What the chart's containers call: commands and options that our command line has."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from charts import DIGEST, RIGHT, Body, pods, render

from chainsight.cli import app

ENGINES = (
    ("serving.engine=chainsight", "serving.extraArgs:=[]"),
    ("serving.engine=vllm", "serving.gpus=1", f"images.vllm.digest={DIGEST}"),
)
EXPECTED = {"watch-registry", "serve", "fetch", "upload"}
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands


def _calls(sets: tuple[str, ...], values: str) -> Iterator[tuple[str, list[str]]]:
    """Command and arguments of each container that runs `chainsight`."""
    for pod in pods(render(values, sets=sets)):
        for container in pod.containers:
            words = _words(container)
            if words and words[0] == "chainsight":
                yield words[1], words[2:]


def _words(container: Body) -> list[str]:
    return [str(word) for word in (*container.get("command", ()), *container.get("args", ()))]


@pytest.mark.parametrize("sets", ENGINES, ids=("chainsight", "vllm"))
@pytest.mark.parametrize("values", RIGHT)
def test_every_call_is_a_command_with_options_that_it_has(
    values: str, sets: tuple[str, ...]
) -> None:
    for name, arguments in _calls(sets, values):
        command = COMMANDS.get(name)
        assert command is not None, f"there is no command {name}; there are {sorted(COMMANDS)}"
        _refuse_unknown(command, arguments)


def _refuse_unknown(command: Any, arguments: list[str]) -> None:
    """Every option is the command's, and one argument is left: the configuration."""
    options = {opt: p for p in command.params if p.param_type_name == "option" for opt in p.opts}
    rest, words = [], list(arguments)
    while words:
        word, _, value = words.pop(0).partition("=")
        if not word.startswith("--"):
            rest.append(word)
            continue
        assert word in options, f"{command.name} has no {word}; it has {sorted(options)}"
        if not options[word].is_flag and not value:
            assert words, f"{command.name} {word} wants a value"
            words.pop(0)
    assert len(rest) == 1, (command.name, rest)
    assert rest[0].endswith(".yaml"), rest


def test_each_command_that_was_written_for_the_chart_is_called() -> None:
    called = {name for sets in ENGINES for name, _ in _calls(sets, "default")}
    assert called == EXPECTED


def test_configurations_are_read_from_where_they_are_mounted() -> None:
    for pod in (pod for sets in ENGINES for pod in pods(render("default", sets=sets))):
        for container in pod.containers:
            words = _words(container)
            if words and words[0] == "chainsight":
                (path,) = (word for word in words if word.endswith(".yaml"))
                places = [mount["mountPath"] for mount in container["volumeMounts"]]
                assert any(path == p or path.startswith(f"{p.rstrip('/')}/") for p in places), path
