"""A policy linter's opinion (checkov), and ours of the rules that we do not keep.

`make chart` installs it into an environment of its own and names it in CHECKOV.
"""

import functools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import DIGESTS, NAMESPACE, RIGHT, Pod, Rendered, pods, render

SKIPPED = (
    (
        "CKV_K8S_40",
        r".*",
        "a high uid: ours is 10001 (test_security.py); OpenShift and PostgreSQL have others",
    ),
    (
        "CKV_K8S_35",
        r".*",
        "secrets as files: boto3, MLflow and openai read their keys from the environment",
    ),
    (
        "CKV_K8S_38",
        r"Deployment\..*-watcher",
        "a token of the API: with it the reconciler rolls serving; nobody else has one",
    ),
    (
        "CKV_K8S_8",
        r"Pod\..*-torch",
        "liveness: a training ends by itself or at its deadline",
    ),
    (
        "CKV_K8S_9",
        r"Pod\..*-torch",
        "readiness: nobody calls a training",
    ),
)
"""Rules that are not kept: by whom, and why."""
FAULTY = """
apiVersion: v1
kind: Pod
metadata: {name: faulty, namespace: runs}
spec:
  hostNetwork: true
  containers:
  - {name: one, image: "x:latest", securityContext: {privileged: true},
     env: [{name: AWS_SECRET_ACCESS_KEY, value: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY"}]}
"""
CAUGHT = {
    *("CKV_K8S_16", "CKV_K8S_19", "CKV_K8S_20", "CKV_K8S_22", "CKV_K8S_23", "CKV_K8S_28"),
    *("CKV_K8S_10", "CKV_K8S_11", "CKV_K8S_12", "CKV_K8S_13", "CKV_K8S_31", "CKV_K8S_37"),
    *("CKV_K8S_38", "CKV_K8S_43", "CKV_K8S_14", "CKV_K8S_8", "CKV_K8S_9"),
}
"""What it must find in that: privilege, root, limits, digest, token, seccomp, probes."""


def _lint(folder: Path) -> list[Mapping[str, Any]]:
    """The rules that objects of a folder break."""
    program = os.environ.get("CHECKOV")
    if not program:
        pytest.skip("needs checkov: `make chart` installs one")
    command = [program, "--directory", str(folder), "--framework", "kubernetes", "--compact"]
    done = subprocess.run(
        [*command, "--quiet", "--skip-download", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, report
    assert report["summary"]["resource_count"] > 0
    failed: list[Mapping[str, Any]] = report["results"]["failed_checks"]
    return failed


def _manifest(one: Rendered) -> dict[str, Any]:
    """As helm would send it: in its namespace."""
    return {**one.body, "metadata": {"namespace": NAMESPACE, **one.body["metadata"]}}


def _stand_in(pod: Pod) -> dict[str, Any]:
    """A TrainingRuntime's pod with what a TrainJob adds, as a Pod: the linter knows no Trainer."""
    containers = [
        {
            **container,
            "image": f"chainsight-sft@sha256:{'7' * 64}",
            "resources": {
                "requests": {"cpu": "1", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            },
        }
        for container in pod.spec["containers"]
    ]
    labels = {**pod.labels, "chainsight.dev/stage": "sft", "chainsight.dev/run": "r"}
    place = pod.owner.body["metadata"].get("namespace", NAMESPACE)
    metadata = {"name": pod.owner.name, "namespace": place, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**pod.spec, "containers": containers},
    }


@functools.cache
def _faults(values: str) -> tuple[Mapping[str, Any], ...]:
    """What the linter has against the objects of a values file, with digests."""
    objects = render(values, sets=DIGESTS)
    bodies = [_manifest(one) for one in objects if one.kind != "TrainingRuntime"]
    bodies += [_stand_in(pod) for pod in pods(objects) if pod.owner.kind == "TrainingRuntime"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "all.yaml").write_text(yaml.safe_dump_all(bodies), encoding="utf-8")
        return tuple(_lint(Path(folder)))


def _skipped_by(fault: Mapping[str, Any]) -> str:
    """The rule that a fault may break, or nothing."""
    for rule, where, _ in SKIPPED:
        if rule == fault["check_id"] and re.match(where, fault["resource"]):
            return rule
    return ""


@pytest.mark.parametrize("values", RIGHT)
def test_the_linter_finds_nothing_but_what_we_leave_out(values: str) -> None:
    faults = [fault for fault in _faults(values) if not _skipped_by(fault)]
    found = {f"{f['check_id']} {f['resource'][:80]}: {f['check_name']}" for f in faults}
    assert not found, "\n".join(sorted(found))


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    """Without network, too: nothing of its rules is fetched."""
    (tmp_path / "faulty.yaml").write_text(FAULTY, encoding="utf-8")
    assert {fault["check_id"] for fault in _lint(tmp_path)} >= CAUGHT


def test_no_rule_is_left_out_that_we_keep() -> None:
    broken = {_skipped_by(fault) for values in RIGHT for fault in _faults(values)}
    assert {rule for rule, _, _ in SKIPPED} <= broken
