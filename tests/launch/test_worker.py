"""What a rank is given: the job as JSON, in a variable or a file."""

import json
from pathlib import Path

import pytest
from trainings import Place

from chainsight.errors import ConfigError
from chainsight.launch import worker


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("home") / "home", num_questions=2)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_job_survives_the_way_to_its_ranks(place: Place, stage: str) -> None:
    job = place.job(stage, epochs=2)
    found, pipeline_run = worker.load(worker.dump(job, "run-7"))
    assert found.key == job.key
    assert found.inputs == job.inputs
    assert pipeline_run == "run-7"


def test_a_job_may_lie_in_a_file(place: Place, tmp_path: Path) -> None:
    job = place.job("sft")
    (tmp_path / "job.json").write_text(worker.dump(job, ""))
    assert worker.load(str(tmp_path / "job.json"))[0].key == job.key


@pytest.mark.parametrize("text", ["", "{", "/nowhere/job.json", '{"stage": "sft"}'])
def test_what_is_no_job_is_refused_by_the_variables_name(text: str) -> None:
    with pytest.raises(ConfigError, match="CHAINSIGHT_JOB: no job"):
        worker.load(text)


def test_an_unknown_way_to_share_the_work_is_refused(place: Place) -> None:
    given = {"CHAINSIGHT_JOB": worker.dump(place.job("sft"), ""), "CHAINSIGHT_PARALLEL": "tp"}
    with pytest.raises(ConfigError, match="CHAINSIGHT_PARALLEL is 'tp'"):
        worker.work(given)


def test_numbers_that_json_made_floats_are_integers_again(place: Place) -> None:
    job = place.job("sft")
    asked = json.loads(worker.dump(job, ""))
    asked["config"]["batch_size"] = 8.0
    assert worker.load(json.dumps(asked))[0].key == job.key
