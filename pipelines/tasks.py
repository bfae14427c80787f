"""Makes the tasks of a pipeline: what all stages share, shards, and where each runs."""

from typing import Any

from kfp import dsl

import components
from chainsight.config import PlatformSection
from chainsight.job import IMAGE_VARIABLE, PIPELINE_VARIABLE
from chainsight.shards import ALL
from chainsight.stages import ON_GPUS, STAGES, TRAINING
from components.images import image
from pipelines.placement import Placement, place


class Tasks:
    """Calls components by their stage's name; `do("pair", config=..., ...)["pairs"]`."""

    def __init__(
        self,
        run: Any,
        model: Any,
        platform: Any,
        name: str,
        settings: PlatformSection | None,
        chosen: Placement,
        pipeline: str,
    ) -> None:
        self._shared = {"run": run, "model": model, "pipeline_run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        self._platform, self._name = platform, name
        self._settings, self._chosen, self._pipeline = settings, chosen, pipeline
        self._doctor: Any = None

    def closing(self, sections: dict[str, Any]) -> Any:
        """The task that runs last, whatever happened, for `dsl.ExitHandler`.

        Beside sections of the configuration it takes `policy_uri`, where the pipeline begins there.
        """
        task = components.summarize(**sections, pipeline_run=self._shared["pipeline_run"])
        return self._placed(task, "summarize")

    def examine(self, sections: dict[str, Any]) -> None:
        """The task that all others wait for: the doctor's."""
        here = self._settings is None
        images = {} if here else {stage: image(stage) for stage in STAGES}
        self._doctor = self._placed(components.doctor(**sections, images=images), "doctor")

    def take(self, policy_uri: Any) -> Any:
        """The outputs of the task that takes a policy from the store."""
        task = components.existing(run=self._shared["run"], policy_uri=policy_uri)
        return self._placed(task, "existing").outputs

    def score(self, models: Any, **arguments: Any) -> None:
        """The task that scores any models."""
        shared = {key: self._shared[key] for key in ("run", "model")}
        self._placed(components.score(models=models, **arguments, **shared), "score")

    def verify(self, models: dict[str, Any], benchmarks: Any, **sections: Any) -> None:
        """The tasks that verify `models` (`version`, `policy_uri`, `aligned_uri`) and show it."""
        task = components.verify(**models, benchmarks=benchmarks, **sections, **self._shared)
        self._placed(task, "verify")
        shared = {key: self._shared[key] for key in ("run", "model")}
        page = components.verification(
            version=models["version"],
            verified=task.outputs["verified"],
            **sections,
            **shared,
        )
        self._placed(page, "verification")

    def collect(self, ablation: Any) -> Any:
        """The task that tells what an ablation has found, for `dsl.ExitHandler`."""
        task = components.collect(ablation=ablation, **self._around())
        return self._placed(task, "collect")

    def node(self, stage: str, name: Any, ablation: Any, after: list[Any]) -> Any:
        """The task of a node of an ablation; `after` are those of the level before it."""
        task = components.node(ablation=ablation, name=name, **self._around())
        task.set_display_name(stage)
        if self._settings is not None:
            task.set_container_image(image(stage))
        before = [one for one in (self._doctor, *after) if one is not None]
        return self._placed(task.after(*before) if before else task, stage)

    def _around(self) -> dict[str, Any]:
        return {"pipeline_run": self._shared["pipeline_run"], "platform": self._platform}

    def __call__(self, stage: str, **arguments: Any) -> Any:
        """The outputs of `stage`, a mapping by kind; its shards run first, if it has several."""
        count = 1
        if self._settings is not None and STAGES[stage].sharded:
            count = getattr(self._settings.shards, stage)
        if count == 1:
            return self._task(stage, "", arguments).outputs
        shards = [f"{number}/{count}" for number in range(count)]
        with dsl.ParallelFor(shards, parallelism=count) as shard:
            part = self._task(stage, shard, arguments)
            part.set_display_name(f"{stage} shard")
        merged = self._task(stage, f"{ALL}{count}", arguments)
        merged.after(part)
        return merged.outputs

    def _task(self, stage: str, shard: Any, arguments: dict[str, Any]) -> Any:
        extra: dict[str, Any] = {}
        if STAGES[stage].sharded:
            extra["shard"] = shard
        if stage in TRAINING:
            extra["platform"] = self._platform
        task = getattr(components, stage)(**arguments, **extra, **self._shared)
        if self._doctor is not None and not STAGES[stage].inputs:
            task.after(self._doctor)
        return self._placed(task, stage, light=str(shard).startswith(ALL))

    def _placed(self, task: Any, name: str, *, light: bool = False) -> Any:
        if self._settings is not None:
            gpus = name in ON_GPUS and not light and not self._elsewhere(name)
            place(task, name, self._name, self._settings, self._chosen, gpus=gpus)
            task.set_env_variable(IMAGE_VARIABLE, task.container_spec.image)
            task.set_env_variable(PIPELINE_VARIABLE, self._pipeline)
        return task

    def _elsewhere(self, stage: str) -> bool:
        """Whether the GPUs are those of a TrainJob, which the pod only starts and follows."""
        return bool(self._settings and self._settings.launcher == "trainjob" and stage in TRAINING)
