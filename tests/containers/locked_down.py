"""How containers are run in these tests: as a cluster's `restricted` pods are, and more."""

from typing import Any

UID = 10001
LOCKED_DOWN: dict[str, Any] = {
    "user": f"{UID}:{UID}",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "network_mode": "none",
    "pids_limit": 512,
}
