"""One process of a training that several share: `torchrun -m chainsight.launch.worker`.

The job is in `CHAINSIGHT_JOB`. All ranks call the stage; rank 0 tracks, writes and commits. On
SIGTERM a checkpoint is kept after the step under way.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from chainsight import runner
from chainsight.errors import ChainsightError, ConfigError
from chainsight.job import Job
from chainsight.job import job as make_job
from chainsight.launch.checkpoints import mirrored
from chainsight.vlm import files

JOB_VARIABLE = "CHAINSIGHT_JOB"
"""The job as JSON (see `dump`), or the path of a file that holds it."""
PARALLEL_VARIABLE = "CHAINSIGHT_PARALLEL"
"""`platform.parallel`: fsdp (also if unset) or ddp."""
FAILURES_VARIABLE = "CHAINSIGHT_FAILURES"
"""Folder for what ranks have to say when they fail; none: standard error only."""
FRESH_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Torch's agent keeps one store for all its restarts (2.13), and ranks that were started again find
the addresses of the dead in it and wait for ever; with this they make a store of their own."""
PATIENCE = timedelta(hours=2)
"""A rank may wait this long for another: a download, a checkpoint on a slow disk."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def dump(job: Job, pipeline_run: str) -> str:
    """A job as JSON: the keyword arguments of `chainsight.job.job`, inputs as store URIs."""
    return json.dumps(
        {
            "stage": job.stage.name,
            "config": job.config.model_dump(mode="json", by_alias=True),
            "run": job.run.model_dump(mode="json"),
            "model": job.model.model_dump(mode="json"),
            "inputs": {k: job.store.artifact_uri(m.kind, m.key) for k, m in job.inputs.items()},
            "pipeline_run": pipeline_run,
        }
    )


def load(text: str) -> tuple[Job, str]:
    """The job and the pipeline run that `dump` wrote, from JSON or a file of it.

    Raises:
        ConfigError: it is no job.
        StoreError: an input is not committed.
    """
    try:
        asked = json.loads(text if text.startswith("{") else Path(text).read_text("utf-8"))
        pipeline_run = asked.pop("pipeline_run", "")
        return make_job(**asked), pipeline_run
    except (OSError, json.JSONDecodeError, TypeError, AttributeError) as error:
        raise ConfigError(f"{JOB_VARIABLE}: no job ({error}); see `dump`") from None


def work(environment: Mapping[str, str]) -> None:
    """Do this rank's part of the job."""
    job, pipeline_run = load(environment.get(JOB_VARIABLE, ""))
    how = environment.get(PARALLEL_VARIABLE, "fsdp")
    if how not in ("fsdp", "ddp"):
        raise ConfigError(f"{PARALLEL_VARIABLE} is {how!r}; set platform.parallel to fsdp or ddp")

    from chainsight.training import parallel  # torch, for which a wrong job need not wait

    with _group(environment):
        _fetch_in_turn(job, int(environment["LOCAL_RANK"]))
        surroundings: dict[str, Any] = {"parallel": how, "stopping": _stopping()}
        if parallel.agreed(runner.find(job) is not None):
            return  # a restart after the commit
        folder = runner.private_folder(job)  # the launcher holds its lock
        if parallel.leads():
            with mirrored(job, folder, environment, runner.say) as kept:
                runner.perform(job, folder, pipeline_run, **surroundings, **kept)
        else:
            runner.assist(job, folder, **surroundings)


@contextmanager
def _group(environment: Mapping[str, str]) -> Iterator[None]:
    """The ranks as torch knows them: NCCL between GPUs, Gloo for what lies on the CPU."""
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(environment["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    yield
    dist.destroy_process_group()  # not after an error: that could wait for ranks that are gone


def _fetch_in_turn(job: Job, local_rank: int) -> None:
    """Bring inputs and base model to this machine, once: its other ranks then find them."""
    import torch.distributed as dist

    for first in (True, False):
        if (local_rank == 0) is first:
            for manifest in job.inputs.values():
                job.store.fetch(manifest)
            files.resolve(job.model.base, job.model.revision)
        dist.barrier()


def _stopping() -> Any:
    """A function that says whether SIGTERM has come."""
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    return lambda: bool(came)


def _end_with_parent() -> None:
    """Ask the kernel to end this process with torchrun: nobody else would, were that killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _report(error: ChainsightError, environment: Mapping[str, str]) -> None:
    print(error, file=sys.stderr, flush=True)  # noqa: T201
    folder = environment.get(FAILURES_VARIABLE)
    if folder:
        about = {"kind": type(error).__name__, "message": str(error), "time": time.time()}
        path = Path(folder) / f"rank-{environment.get('RANK', 0)}.failure"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(about), encoding="utf-8")
        draft.replace(path)


def main() -> int:
    """The exit code: 0 done, else that of the error, which is printed without a traceback."""
    _end_with_parent()
    try:
        work(os.environ)
    except ChainsightError as error:
        _report(error, os.environ)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
