"""Kubernetes' Pod Security Standards, level `restricted`, as a function of a pod's spec.

Written after https://kubernetes.io/docs/concepts/security/pod-security-standards/ (v1.37, Linux
pods; the exceptions for Windows and for user namespaces are not granted). `restricted` includes
`baseline`. What it says is proved in test_podsecurity.py against pods that each break one rule.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Body = Mapping[str, Any]

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
SYSCTLS = {
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range"),
    "net.ipv4.ip_unprivileged_port_start",
    *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
    *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}  # fmt: skip
SELINUX_TYPES = {"container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def violations(pod: Body) -> list[str]:
    """What a pod's spec breaks, a sentence each; empty for a pod that is admitted."""
    found = [*_pod(pod)]
    for container in containers(pod):
        found += [f"{container['name']}: {fault}" for fault in _container(container, pod)]
    return found


def containers(pod: Body) -> list[Body]:
    """All containers of a pod, in the order of their kinds."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in pod.get(kind) or ()]


def _pod(pod: Body) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is on"
    for volume in pod.get("volumes") or ():
        for kind in set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    context = pod.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _identity(context)


def _container(container: Body, pod: Body) -> Iterator[str]:
    context, shared = container.get("securityContext") or {}, pod.get("securityContext") or {}
    yield from _identity(context)
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if "seccompProfile" not in context and "seccompProfile" not in shared:
        yield "no seccompProfile"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "capabilities: ALL are not dropped"
    for name in set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"capability {name} is added"
    if context.get("procMount", "Default") != "Default":
        yield "procMount"
    yield from _host(container)


def _identity(context: Body) -> Iterator[str]:
    """What may stand at a pod and at a container alike."""
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if context.get("runAsNonRoot") is False:
        yield "runAsNonRoot is false"
    if "seccompProfile" in context and context["seccompProfile"].get("type") not in SECCOMP:
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    if (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") == "Unconfined":
        yield "appArmorProfile is Unconfined"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type") and selinux["type"] not in SELINUX_TYPES:
        yield f"seLinuxOptions.type is {selinux['type']}"
    if selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions names a user or role"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess is on"


def _host(container: Body) -> Iterator[str]:
    """Ways to the node: its ports, and probes and hooks that name a host."""
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "hostPort"
    lifecycle = container.get("lifecycle") or {}
    for handler in (*(container.get(name) for name in PROBES), *lifecycle.values()):
        for action in ("httpGet", "tcpSocket"):
            if ((handler or {}).get(action) or {}).get("host"):
                yield f"{action} names a host"
