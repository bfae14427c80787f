"""Who may talk to whom under a set of NetworkPolicies: the API's own semantics, as a function.

Written after https://kubernetes.io/docs/concepts/services-networking/network-policies/: what no
policy selects is open, what one selects is closed but for the union of what all of them allow.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """Somebody: a pod with labels in a namespace, or an address outside the cluster."""

    labels: Body | None = None
    namespace: str = ""
    address: str = ""


def namespace_of(policy: Body, default: str) -> str:
    """The namespace that a policy is made in."""
    return str(policy["metadata"].get("namespace", default))


def selecting(policies: Iterable[Body], pod: Peer, direction: str, default: str) -> list[Body]:
    """The policies that isolate a pod in a direction, `Ingress` or `Egress`."""
    return [
        policy
        for policy in policies
        if namespace_of(policy, default) == pod.namespace
        and direction in _directions(policy)
        and matches(policy["spec"].get("podSelector") or {}, pod.labels or {})
    ]


def allowed(
    policies: Iterable[Body], pod: Peer, other: Peer, port: int, default: str, direction: str
) -> bool:
    """Whether `pod` may talk to (`Egress`) or be talked to by (`Ingress`) `other` on a port.

    The port is TCP's; a negative one is UDP's.
    """
    isolating = selecting(policies, pod, direction, default)
    if not isolating:
        return True
    return any(
        _rule(rule, policy, other, port, default, direction)
        for policy in isolating
        for rule in policy["spec"].get(direction.lower()) or ()
    )


def _directions(policy: Body) -> list[str]:
    spec = policy["spec"]
    return list(spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])])


def _rule(rule: Body, policy: Body, other: Peer, port: int, default: str, direction: str) -> bool:
    ports = rule.get("ports")
    if ports and not any(_port(one, port) for one in ports):
        return False
    peers = rule.get("to" if direction == "Egress" else "from")
    return not peers or any(_peer(one, policy, other, default) for one in peers)


def _port(given: Body, port: int) -> bool:
    if given.get("protocol", "TCP") != ("TCP" if port > 0 else "UDP"):
        return False
    port = abs(port)
    if isinstance(given.get("port"), str):
        raise AssertionError(f"a named port, {given['port']}: it means another number in each pod")
    first = given.get("port")
    return first is None or first <= port <= given.get("endPort", first)


def _peer(given: Body, policy: Body, other: Peer, default: str) -> bool:
    if "ipBlock" in given:
        return bool(other.address) and _within(given["ipBlock"], other.address)
    if other.labels is None:
        return False
    if "namespaceSelector" in given:
        names = {"kubernetes.io/metadata.name": other.namespace}
        if not matches(given["namespaceSelector"] or {}, names):
            return False
    elif other.namespace != namespace_of(policy, default):
        return False
    return matches(given.get("podSelector") or {}, other.labels)


def _within(block: Body, address: str) -> bool:
    place = ipaddress.ip_address(address)

    def holds(cidr: str) -> bool:
        network = ipaddress.ip_network(cidr)
        return network.version == place.version and place in network

    return holds(block["cidr"]) and not any(holds(cidr) for cidr in block.get("except") or ())


def matches(selector: Body, labels: Body) -> bool:
    """Whether a label selector selects these labels; an empty one selects everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_expression(one, labels) for one in selector.get("matchExpressions") or ())


def _expression(one: Body, labels: Body) -> bool:
    present, value = one["key"] in labels, labels.get(one["key"])
    match one["operator"]:
        case "In":
            return value in one["values"]
        case "NotIn":
            return value not in one["values"]
        case "Exists":
            return present
        case _:
            return not present
