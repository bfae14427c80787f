"""All the checks of one configuration, side by side, in the order of the pipeline."""

import importlib.util
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from chainsight.config import RunConfig
from chainsight.doctor import checkpoints, local, memory, services, tracking
from chainsight.doctor import price as prices
from chainsight.doctor import teacher as teachers
from chainsight.doctor.check import Check, Cluster, Where, fail
from chainsight.doctor.finished import unless_finished
from chainsight.doctor.images import images as pinned
from chainsight.doctor.probes import DEADLINE_SECONDS, Probe, side_by_side


def examine(
    config: RunConfig,
    *,
    where: Where = "here",
    spend: bool = False,
    images: Mapping[str, str] | None = None,
    cluster: Cluster | None = None,
    disk_usage: local.DiskUsage = shutil.disk_usage,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> list[Check]:
    """All findings on `config`. Needs no GPU and leaves nothing behind but MLflow's experiment.

    `spend` asks the teacher one question of one token. `images` (by stage) are to be pinned.
    `cluster` is looked at if given.
    """
    probes = [
        *_of_the_machine(config, where, disk_usage),
        *_of_the_stages(config, where, spend, cluster),
    ]
    if images is not None:
        probes.append(Probe("images", partial(pinned, images)))
    if cluster is not None:
        probes.append(Probe("cluster", partial(_cluster, config, cluster)))
    return unless_finished(side_by_side(probes, deadline_seconds), config)


def _of_the_machine(
    config: RunConfig, where: Where, disk_usage: local.DiskUsage
) -> Iterator[Probe]:
    yield Probe("config", partial(local.valid, config))
    if where == "here":  # each image holds its own stage alone, and the doctor's pod has no GPU
        yield Probe("packages", local.packages)
        yield Probe("gpu", partial(local.gpu, config))
    yield Probe("home", partial(local.home, config, where))
    yield Probe("disk", partial(local.disk, config, disk_usage))


def _of_the_stages(
    config: RunConfig, where: Where, spend: bool, access: Cluster | None
) -> Iterator[Probe]:
    yield Probe("store", partial(services.store, config, where))
    for source in (*config.prepare.examples, *config.prepare.benchmarks):
        yield Probe("dataset", partial(services.dataset, source, where))
    yield Probe("teacher", partial(teachers.teacher, config.distill, where, spend))
    yield Probe("price", partial(prices.price, config.distill))
    yield Probe("budget", partial(local.budget, config))
    yield Probe("model", partial(checkpoints.model, config.model, where))
    yield Probe("memory", partial(memory.memory, config, where, _node_labels(config, access)))
    yield Probe("tracking", partial(tracking.tracking, config, where))


def _node_labels(config: RunConfig, access: Cluster | None) -> memory.NodeLabels | None:
    if access is None or importlib.util.find_spec("kubernetes") is None:
        return None
    from chainsight.doctor.cluster import gpu_labels

    return partial(gpu_labels, config, access)


def _cluster(config: RunConfig, access: Cluster) -> Iterable[Check]:
    if importlib.util.find_spec("kubernetes") is None:
        return [
            fail(
                "cluster",
                "the package kubernetes is not installed here",
                "install chainsight[pipeline]",
            )
        ]
    from chainsight.doctor.cluster import cluster

    return cluster(config, access)
