"""Failures of MLflow, told with the way out; the messages are those of a real server."""

import re

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos import databricks_pb2 as codes

from chainsight.tracking.reasons import why

API = "API request to endpoint /api/2.0/mlflow/x failed with error code"
CASES = {
    "password": (
        MlflowException(f"{API} 401 != 200. Response body: 'x'", codes.UNAUTHENTICATED),
        r"refuses the credentials of 'ann' \(401\); set MLFLOW_TRACKING_USERNAME and",
    ),
    "right": (
        MlflowException(f"{API} 403 != 200. Response body: 'no'", codes.PERMISSION_DENIED),
        r"does not allow 'ann' to do this \(403\); an admin of MLflow can grant EDIT",
    ),
    "host": (
        MlflowException(
            f"{API} 403 != 200. Response body: 'Invalid Host header - possible DNS rebinding'",
            codes.PERMISSION_DENIED,
        ),
        r"does not serve this host name \(403\); .* --allowed-hosts",
    ),
    "read-only": (
        RestException(
            {"error_code": "BAD_REQUEST", "message": "cannot execute INSERT in a read-only "
             "transaction\n[SQL: INSERT"}
        ),
        r"full or read-only \(BAD_REQUEST: cannot execute INSERT in a read-only transaction\);",
    ),
    "disk": (
        RestException(
            {"error_code": "BAD_REQUEST", "message": "could not extend file: No space left on "
             "device"}
        ),
        "full or read-only .* make room there, then run again",
    ),
    "database": (
        MlflowException("Max retries exceeded (ResponseError('too many 503 error responses'))"),
        r"cannot use its database \(503\)",
    ),
    "away": (
        MlflowException(
            "API request to http://h failed with exception HTTPConnectionPool: Failed to establish "
            "a new connection: [Errno 111] Connection refused"
        ),
        r"does not answer \(Connection refused\); check MLFLOW_TRACKING_URI",
    ),
    "slow": (
        MlflowException("API request to http://h failed with timeout exception: Read timed out"),
        r"does not answer \(Read timed out\); check",
    ),
    "folder": (OSError("Not a directory"), r"does not answer \(Not a directory\); check the addr"),
    "other": (
        RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no model x\nat line"}),
        r"says: RESOURCE_DOES_NOT_EXIST: no model x\Z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_failure_is_told_with_its_way_out(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    error, expected = CASES[case]
    assert re.search(expected, why(error)), why(error)
