"""What training in TrainJobs needs of a cluster: Kubeflow Trainer, rights, a runtime, a queue."""

from chainsight.config import PlatformSection
from chainsight.doctor.check import Check, Checks, fail, ok, warn
from chainsight.doctor.cluster_api import Answer, Api

TRAINER = "trainer.kubeflow.org"
TRAINER_API = f"/apis/{TRAINER}/v1alpha1"
KUEUE = "kueue.x-k8s.io"
WANTED_RIGHTS = (
    *((verb, TRAINER, "trainjobs") for verb in ("create", "get", "list", "watch", "delete")),
    ("list", "", "pods"),
    ("get", "", "pods"),
    ("get", "", "pods/log"),
    ("list", "", "events"),
)
"""What a stage does that trains in a TrainJob: verb, API group, resource."""


def trainer(platform: PlatformSection, api: Api) -> Checks:
    """Definitions, rights, runtime and queue, in the order in which they are mended."""
    definitions = _definitions(api)
    yield definitions
    yield _rights(api)
    if definitions.level == "ok":
        yield _runtime(platform, api)
    if platform.queue:
        yield _queue(platform.queue, api)


def _definitions(api: Api) -> Check:
    """Discovery, which everybody may read, in place of the definitions, which few may."""
    answer = api.get(TRAINER_API)
    listed = answer.body.get("resources", []) if answer.status == 200 else []
    names = {resource.get("name") for resource in listed}
    missing = [name for name in ("trainjobs", "trainingruntimes") if name not in names]
    if missing:
        return fail(
            "crds",
            f"{TRAINER}/v1alpha1 has no {' and no '.join(missing)} in this cluster",
            "install Kubeflow Trainer 2.2 or later, or set platform.launcher to pod",
        )
    return ok("crds", f"{TRAINER}: trainjobs and trainingruntimes")


def _rights(api: Api) -> Check:
    """Ask the cluster itself, right by right."""
    answers = {right: _may(api, *right) for right in WANTED_RIGHTS}
    unknown = next((a for a in answers.values() if a.status not in (200, 201)), None)
    if unknown is not None:
        return warn(
            "permissions",
            f"this account may not ask for its own rights (HTTP {unknown.status})",
            f"ask as somebody who may: kubectl auth can-i create trainjobs.{TRAINER}",
        )
    denied = [
        f"{verb} {resource}"
        for (verb, _, resource), answer in answers.items()
        if not answer.body.get("status", {}).get("allowed")
    ]
    if denied:
        return fail(
            "permissions",
            f"in namespace {api.namespace} this account may not {', '.join(denied)}",
            "bind a Role with these rights to the service account of the run (KFP's own, "
            f"pipeline-runner, has none on {TRAINER}), or set platform.launcher to pod",
        )
    return ok("permissions", f"TrainJobs, pods, logs and events in namespace {api.namespace}")


def _may(api: Api, verb: str, group: str, resource: str) -> Answer:
    name, _, subresource = resource.partition("/")
    attributes = {
        "namespace": api.namespace,
        "verb": verb,
        "group": group,
        "resource": name,
        "subresource": subresource,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)


def _runtime(platform: PlatformSection, api: Api) -> Check:
    where = f"TrainingRuntime {platform.runtime} in namespace {api.namespace}"
    answer = api.get(api.local(TRAINER_API, "trainingruntimes", platform.runtime))
    if answer.status == 200:
        return ok("runtime", f"{where} is there")
    if answer.status == 404:
        return fail(
            "runtime",
            f"{where} is missing",
            "install Chainsight's Helm chart there, or set platform.runtime to one that is there",
        )
    return warn(
        "runtime",
        f"{where}: this account may not look (HTTP {answer.status}), so it was not checked",
        f"ask as somebody who may: kubectl -n {api.namespace} get trainingruntimes",
    )


def _queue(queue: str, api: Api) -> Check:
    group = api.get(f"/apis/{KUEUE}")
    if group.status != 200:
        return fail(
            "queue",
            f"{KUEUE} is not defined in this cluster, but platform.queue is {queue!r}",
            "install Kueue, or leave platform.queue out",
        )
    version = group.body["preferredVersion"]["groupVersion"]
    where = f"LocalQueue {queue} in namespace {api.namespace}"
    answer = api.get(api.local(f"/apis/{version}", "localqueues", queue))
    if answer.status == 200:
        return ok("queue", f"{where} is there")
    if answer.status == 404:
        return fail(
            "queue",
            f"{where} is missing: TrainJobs would wait for ever",
            "create it, or set platform.queue to one that is there",
        )
    return warn(
        "queue",
        f"{where}: this account may not look (HTTP {answer.status}), so it was not checked",
        f"ask as somebody who may: kubectl -n {api.namespace} get localqueues",
    )
