"""What a failure of MLflow means, and the way out: its own messages often tell neither."""

import os
import re

_SHOWN = 300  # characters of a message that is not one of those below
_FULL = re.compile(
    r"read-only transaction|readonly database|No space left on device|disk is full|DiskFull"
)
_AWAY = re.compile(r"too many 50\d error responses")
_UNREACHABLE = re.compile(r"failed with exception|timed out|Timeout")
_CAUSE = re.compile(r"(?:Failed to [^:]*: )?\[Errno -?\d+\] ([\w ]+)|Read timed out|SSLError")


def shown(uri: str) -> str:
    """An address without the name and password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def why(error: Exception) -> str:
    """The rest of a sentence that begins with "MLflow at <address>"."""
    code, said = getattr(error, "error_code", ""), str(error)
    if code == "UNAUTHENTICATED":
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        return (
            f"refuses the credentials of {repr(user) if user else 'nobody'} (401); set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account that it knows"
        )
    if code == "PERMISSION_DENIED":
        return _forbidden(said)
    if database := _database(said, first_line(error), code):
        return database
    if code == "INTERNAL_ERROR" and _UNREACHABLE.search(said):
        return f"does not answer ({_cause(said)}); check MLFLOW_TRACKING_URI and the network"
    if not code:  # no answer of MLflow's: its database's driver or the operating system
        return f"does not answer ({first_line(error)}); check the address and the rights"
    return f"says: {first_line(error)}"


def _database(said: str, shown: str, code: str) -> str:
    """What is wrong with the server's database; "" if that is not it."""
    if _FULL.search(said):
        return (
            f"cannot write to its database, which is full or read-only ({shown}); make room "
            "there, then run again"
        )
    if _AWAY.search(said) or code == "TEMPORARILY_UNAVAILABLE":
        return (
            "answers, but cannot use its database (503): it is away, or full; the server's log "
            "tells which; run again when it is mended"
        )
    return ""


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_SHOWN] if lines else type(error).__name__


def _forbidden(said: str) -> str:
    if "Invalid Host header" in said:
        return (
            "does not serve this host name (403); call it by a name that its --allowed-hosts "
            "lists, or add this one, with its port"
        )
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "this user")
    return (
        f"does not allow {user!r} to do this (403); an admin of MLflow can grant EDIT on the "
        "registered model (MANAGE to delete versions or aliases) or on the experiment"
    )


def _cause(said: str) -> str:
    found = _CAUSE.search(said)
    return (found[1] or found[0]) if found else said.strip().splitlines()[0][:_SHOWN]
