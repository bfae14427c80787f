"""Where a training gets its processes: this one, torchrun's, or those of a TrainJob."""

from chainsight.config import PlatformSection
from chainsight.job import Job
from chainsight.launch import ranks, trainjob, worker
from chainsight.runner import StageRun


def execute(job: Job, platform: PlatformSection, *, pipeline_run: str = "") -> StageRun:
    """Execute sft or dpo as `platform` says, or reuse what an equal execution committed.

    Raises:
        ChainsightError: as `ranks.execute` and `trainjob.execute`.
    """
    if platform.launcher == "trainjob":
        payload = worker.dump(job, pipeline_run)
        return trainjob.execute(job, platform, payload, pipeline_run=pipeline_run)
    return ranks.execute(job, platform, pipeline_run=pipeline_run)
