"""From a trained model to the one in use and back, by commands and by moving the alias by hand."""

import json
import os
import subprocess
import sys
import urllib.error
from typing import Any

import pytest
from candidates import digest
from desk import ROOT, Desk

from chainsight.tracking import CONTENT_DIGEST

pytestmark = [pytest.mark.slow, pytest.mark.registry]
ASK = """
import json, sys
import mlflow, pandas
from chainsight.demo import bars

chart = next(bars.charts(7, "test"))
asked = pandas.DataFrame({"image": [chart.image], "question": [chart.questions[0].text]})
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(asked, params={"max_new_tokens": 24}).to_dict("records")))
"""


def move_alias(desk: Desk, alias: str, number: int, user: str = "promoter") -> None:
    """As the pages of MLflow do."""
    body = {"name": desk.name, "alias": alias, "version": str(number)}
    desk.stack.mlflow.call("POST", "2.0/mlflow/registered-models/alias", body, user)


def watch_once(desk: Desk) -> None:
    done = desk.call("watch-registry", "--once", user="promoter")
    assert done.code == 0, done.err


def entries(desk: Desk) -> list[dict[str, Any]]:
    found = desk.call("history", "--json").json
    assert found["damage"] == []
    assert found["notes"] == []
    return list(found["entries"])


def test_models_are_promoted_by_command_and_by_hand(desk: Desk) -> None:
    for number, num_right in ((1, 50), (2, 75), (3, 45), (4, 100)):
        inputs = desk.candidate(number, num_right, small=number > 2)
        metrics = desk.register(inputs).json["metrics"]
        assert metrics["passed"] == (number != 3)
        version = desk.registry.version(desk.name, number)
        assert version.tags[CONTENT_DIGEST] == digest(desk.store, inputs)
    assert desk.registry.aliases(desk.name) == {"champion": 1, "challenger": 4}

    done = desk.call_anew("promote", "--version=2", "--why=more right", user="promoter")
    assert done.code == 0, done.err
    assert desk.registry.aliases(desk.name) == {"champion": 2, "previous": 1, "challenger": 4}
    assert answer_of(desk, "champion") == answer_of(desk, 2)

    move_alias(desk, "champion", 4)
    watch_once(desk)
    assert desk.registry.aliases(desk.name) == {"champion": 4, "previous": 2, "challenger": 4}

    move_alias(desk, "champion", 3)  # its gate refused it
    watch_once(desk)
    assert desk.registry.aliases(desk.name) == {"champion": 4, "previous": 2, "challenger": 4}
    refused = desk.call("promote", "--version=3", user="promoter")
    assert refused.code == 1
    assert "does not become champion" in refused.out

    done = desk.call("rollback", "--why=too long answers", user="promoter")
    assert done.code == 0, done.err
    assert desk.registry.aliases(desk.name) == {"champion": 2, "previous": 1, "challenger": 4}
    told = [(e["action"], e["from_version"], e["to_version"]) for e in entries(desk)]
    assert told == [
        ("adopted", None, 1),  # the first, which registration made champion
        ("promoted", 1, 2),
        ("adopted", 2, 4),
        ("reverted", 3, 4),
        ("refused", 4, 3),
        ("rolled_back", 4, 2),
    ]
    compared = desk.call("diff", "2", "4", "--json").json
    assert compared["num_won"] == 25
    assert compared["num_lost"] == 0


def answer_of(desk: Desk, what: str | int) -> list[dict[str, str]]:
    """What a model answers in a process that knows nothing but its name."""
    reference = f"models:/{desk.name}{'/' if isinstance(what, int) else '@'}{what}"
    done = subprocess.run(
        [sys.executable, "-c", ASK, reference],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **desk.stack.environment("promoter")},
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert set(row) == {"answer", "rationale", "status"}
    assert row["rationale"] or row["answer"]
    return [row]


def test_candidates_and_production_can_be_two_models(desk: Desk) -> None:
    production = f"{desk.name}-production"
    desk.write_config(promotion={"production_name": production})
    for number, num_right in ((1, 50), (2, 75)):
        desk.register(desk.candidate(number, num_right, small=True)).json  # noqa: B018
    assert desk.registry.aliases(desk.name) == {"challenger": 2}
    for version in (1, 2):
        done = desk.call("promote", f"--version={version}", user="promoter")
        assert done.code == 0, done.err
    copies = desk.registry.versions(production)
    assert [copy.source for copy in copies] == [f"models:/{desk.name}/{n}" for n in (1, 2)]
    assert desk.registry.aliases(production) == {"champion": 2, "previous": 1}
    body = {"name": production, "alias": "champion", "version": "1"}
    with pytest.raises(urllib.error.HTTPError, match="403"):  # trainers do not promote
        desk.stack.mlflow.call("POST", "2.0/mlflow/registered-models/alias", body, "trainer")
    denied = desk.call("promote", "--version=1", "--force", "--why=mine", user="trainer")
    assert denied.code == 1
    assert "does not allow 'trainer'" in denied.err
