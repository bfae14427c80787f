"""The function that says who reaches whom, against policies whose meaning is plain."""

from typing import Any

import pytest
from network import Peer, allowed

WORLD = Peer(address="203.0.113.7")
PRIVATE = Peer(address="10.20.30.40")
DENY: dict[str, Any] = {
    "metadata": {"name": "deny"},
    "spec": {"podSelector": {"matchLabels": {"a": "1"}}, "policyTypes": ["Ingress", "Egress"]},
}
ALLOW: dict[str, Any] = {
    "metadata": {"name": "allow"},
    "spec": {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}],
                "ports": [{"port": 443}, {"port": 8000, "endPort": 8010}],
            },
            {"to": [{"podSelector": {"matchExpressions": [{"key": "b", "operator": "Exists"}]}}]},
        ],
    },
}
FROM = Peer({"a": "1"}, "ns")


@pytest.mark.parametrize(
    ("policies", "other", "port", "expected"),
    [
        ([], WORLD, 443, True),
        ([DENY], WORLD, 443, False),
        ([DENY, ALLOW], WORLD, 443, True),
        ([DENY, ALLOW], WORLD, 80, False),
        ([DENY, ALLOW], WORLD, -443, False),
        ([DENY, ALLOW], WORLD, 8010, True),
        ([DENY, ALLOW], WORLD, 8011, False),
        ([DENY, ALLOW], PRIVATE, 443, False),
        ([DENY, ALLOW], Peer({"b": "x"}, "ns"), 5432, True),
        ([DENY, ALLOW], Peer({"c": "x"}, "ns"), 5432, False),
        ([DENY, ALLOW], Peer({"b": "x"}, "other"), 5432, False),
    ],
)
def test_what_is_selected_is_closed_but_for_the_union_of_what_is_allowed(
    policies: Any, other: Peer, port: int, expected: bool
) -> None:
    assert allowed(policies, FROM, other, port, "ns", "Egress") is expected


def test_a_policy_says_nothing_about_pods_elsewhere() -> None:
    assert allowed([DENY], Peer({"a": "2"}, "ns"), WORLD, 443, "ns", "Egress")
    assert allowed([DENY], Peer({"a": "1"}, "other"), WORLD, 443, "ns", "Egress")
    assert not allowed([DENY], FROM, WORLD, 443, "ns", "Ingress")
