"""The checker of Pod Security `restricted`, against pods that each break one rule."""

import copy
from typing import Any

import pytest
from podsecurity import violations

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "initContainers": [
        {
            "name": "first",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        }
    ],
    "containers": [
        {
            "name": "main",
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "kept", "persistentVolumeClaim": {}}],
}
BROKEN: list[tuple[str, Any, str]] = [
    ("hostNetwork", True, "hostNetwork is on"),
    ("hostPID", True, "hostPID is on"),
    ("hostIPC", True, "hostIPC is on"),
    ("volumes.0", {"name": "tmp", "hostPath": {"path": "/"}}, "volume tmp is a hostPath"),
    ("volumes.0", {"name": "tmp", "nfs": {}}, "volume tmp is a nfs"),
    ("volumes.0", {"name": "tmp", "image": {}}, "volume tmp is a image"),
    ("securityContext.sysctls", [{"name": "kernel.msgmax"}], "sysctl kernel.msgmax"),
    ("securityContext.runAsUser", 0, "runAsUser is 0"),
    ("securityContext.runAsNonRoot", None, "first: runAsNonRoot is not true"),
    ("securityContext.runAsNonRoot", False, "runAsNonRoot is false"),
    ("securityContext.seccompProfile", {"type": "Unconfined"}, "neither RuntimeDefault nor"),
    ("securityContext.seccompProfile", ..., "main: no seccompProfile"),
    ("securityContext.appArmorProfile", {"type": "Unconfined"}, "appArmorProfile is Unconfined"),
    ("securityContext.seLinuxOptions", {"type": "spc_t"}, "seLinuxOptions.type is spc_t"),
    ("securityContext.seLinuxOptions", {"role": "x"}, "names a user or role"),
    ("securityContext.windowsOptions", {"hostProcess": True}, "hostProcess is on"),
    ("containers.0.securityContext", ..., "main: allowPrivilegeEscalation is not false"),
    ("containers.0.securityContext.privileged", True, "main: privileged"),
    ("containers.0.securityContext.runAsUser", 0, "main: runAsUser is 0"),
    ("containers.0.securityContext.runAsNonRoot", False, "main: runAsNonRoot is not true"),
    ("containers.0.securityContext.procMount", "Unmasked", "main: procMount"),
    ("containers.0.securityContext.capabilities", {"drop": ["NET_RAW"]}, "ALL are not dropped"),
    ("containers.0.securityContext.capabilities.add", ["SYS_ADMIN"], "SYS_ADMIN is added"),
    ("containers.0.securityContext.seccompProfile", {"type": "Unconfined"}, "main: seccompProfile"),
    ("initContainers.0.securityContext.capabilities.add", ["IPC_LOCK"], "first: capability"),
    ("initContainers.0.securityContext.allowPrivilegeEscalation", True, "first: allowPrivilege"),
    ("containers.0.ports.0.hostPort", 80, "main: hostPort"),
    ("containers.0.readinessProbe.httpGet.host", "10.0.0.1", "main: httpGet names a host"),
    ("containers.0.lifecycle", {"preStop": {"tcpSocket": {"host": "x"}}}, "tcpSocket names a host"),
    ("ephemeralContainers", [{"name": "debug"}], "debug: allowPrivilegeEscalation"),
]


def test_a_pod_that_keeps_the_rules_is_admitted() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(("path", "value", "complaint"), BROKEN)
def test_a_pod_that_breaks_one_rule_is_refused_by_it(path: str, value: Any, complaint: str) -> None:
    pod = changed(GOOD, path, value)
    assert any(complaint in fault for fault in violations(pod)), violations(pod)


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a dotted path replaced, or left out where it is `...`."""
    copied = copy.deepcopy(body)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = copied
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copied
