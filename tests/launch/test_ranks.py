"""torchrun from the launcher's side: how many processes, whose message, what they leave behind."""

import fcntl
import shutil
from pathlib import Path

import pytest
from trainings import Place, largest_difference, largest_gap

from chainsight.config import PlatformSection
from chainsight.errors import ConfigError, StoreError
from chainsight.launch import ranks


@pytest.mark.parametrize(
    ("processes", "num_gpus", "expected"), [(None, 0, 1), (None, 8, 8), (2, 0, 2), (2, 8, 2)]
)
def test_there_is_a_process_for_each_gpu_unless_the_configuration_says_otherwise(
    processes: int | None, num_gpus: int, expected: int
) -> None:
    assert ranks.num_processes(PlatformSection(processes=processes), num_gpus) == expected


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"platform.processes is 3, but torch sees 2 GPUs"):
        ranks.num_processes(PlatformSection(processes=3), 2)


def test_what_a_rank_has_to_say_is_the_launchers_message_and_nothing_else_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, num_questions=2)
    job = place.job("sft")
    shutil.rmtree(tmp_path / "store" / "rationales")
    with pytest.raises(StoreError, match="there is no such artifact") as raised:
        ranks.execute(job, PlatformSection(processes=2, retries=9))
    assert "torch" not in str(raised.value)
    assert "Traceback" not in capsys.readouterr().err


def test_two_processes_with_cut_up_weights_train_as_one_does(tmp_path: Path) -> None:
    """30 rows in batches of 12, so that the last step leaves one rank without a row at its end."""
    settings = {"batch_size": 12, "device_batch_size": 2, "max_steps": 3}
    one = Place(tmp_path / "one", num_questions=15).train("sft", 1, **settings)
    place = Place(tmp_path / "two", num_questions=15)
    two = place.train("sft", 2, "fsdp", **settings)
    assert len(one.curve) == 3
    assert largest_gap(one, two, "loss") < 1e-5
    assert largest_difference(one, two) < 1e-6
    assert two.metrics.keys() == one.metrics.keys()
    assert {p.name for p in two.folder.iterdir()} == {p.name for p in one.folder.iterdir()}
    assert (two.folder / "config.json").read_text() == (one.folder / "config.json").read_text()
    left = [path for path in (tmp_path / "two" / "work").iterdir() if path.suffix != ".lock"]
    assert left == []
    with next((tmp_path / "two" / "work").glob("*.lock")).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it any more
