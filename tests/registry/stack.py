"""A whole registry as the chart deploys it: PostgreSQL, S3, MLflow with users, on loopback.

    with running(folder) as stack:
        stack.environment("trainer")   # what a process needs to use it
        stack.mlflow.restart(kill=True)
        stack.postgres.restart()

S3 is moto's server; it keeps its objects in memory, so it is the one that is never restarted.
"""

import base64
import contextlib
import json
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from postgres import Postgres
from processes import Server, free_port

HERE = Path(__file__).parent
SERVICE, EXTERNAL = "mlflow.team.svc.cluster.local", "mlflow.example.com"
"""Names of the MLflow server: for pods, and for people."""
BUCKET, PREFIX = "chainsight", "team"
STORE = f"s3://{BUCKET}/{PREFIX}"
SOURCES = (
    rf"^s3://{re.escape(BUCKET)}/{re.escape(PREFIX)}/aligned/[0-9a-f]{{64}}/attempt-[0-9a-f]{{32}}\Z"
    r"|^models:/[A-Za-z0-9][A-Za-z0-9_.-]*/[0-9]+\Z"
)
"""Where a version's files may lie: in the store, or where another version's files do."""
PASSWORDS = {
    "admin": "the admin's password",
    "trainer": "the trainer's password",
    "promoter": "the promoter's password",
}
_ALLOW_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


class S3:
    """moto's server with one user whose signatures it checks, and one bucket."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(HERE / "s3_server.py"), str(self.port)]
        self._server = Server(command, folder / "s3.log")
        self.credentials: dict[str, str] = {}

    def start(self) -> None:
        self._server.start(lambda: _status(f"{self.url}/moto-api/") == 200)
        iam = boto3.client("iam", **self._options("testing", "testing"))
        iam.create_user(UserName="store")
        policy = json.dumps(_ALLOW_ALL)
        iam.put_user_policy(UserName="store", PolicyName="store", PolicyDocument=policy)
        key = iam.create_access_key(UserName="store")["AccessKey"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        self.client.create_bucket(Bucket=BUCKET)
        # From here on every request must be signed with a key that exists.
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", b"0", plain)
        urllib.request.urlopen(request).close()

    def stop(self) -> None:
        self._server.stop()

    @property
    def client(self) -> Any:
        keys = self.credentials
        options = self._options(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        return boto3.client("s3", **options)

    def names(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def _options(self, key: str, secret: str) -> dict[str, Any]:
        options = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return {**options, "aws_access_key_id": key, "aws_secret_access_key": secret}


class Mlflow:
    """The server with the chart's flags, on a PostgreSQL that may come and go."""

    def __init__(self, folder: Path, postgres: Postgres, s3: S3) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._postgres, self._folder = postgres, folder
        settings = folder / "basic_auth.ini"
        settings.write_text(
            "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
            f"database_uri = {postgres.uri('mlflow_auth').replace('%', '%%')}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 60\n"  # else each request pays for a password hash
        )
        environment = {
            **s3.credentials,
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of all replicas",
            "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": SOURCES,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
        }
        self._server = Server(self._command(), folder / "mlflow.log", environment)

    def migrate(self) -> None:
        """What the chart's hook Job does, once, before the first start: both databases."""
        mlflow = ["mlflow", "db", "upgrade", self._postgres.uri("mlflow")]
        auth = ["mlflow.server.auth", "db", "upgrade", "--url", self._postgres.uri("mlflow_auth")]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._run, (mlflow, auth)))

    def start(self) -> float:
        return self._server.start(self.answers, seconds=120)

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        self._server.stop(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> float:
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def answers(self) -> bool:
        """Whether the API answers; `/health` would say so without a database, too."""
        try:
            self.call("GET", "2.0/mlflow/experiments/get?experiment_id=0")
        except OSError:
            return False
        return True

    def call(self, method: str, path: str, body: object = None, user: str = "admin") -> Any:
        """One request of the REST API; urllib's HTTPError for a refusal."""
        token = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Basic {token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def _command(self) -> list[str]:
        allowed = [f"127.0.0.1:{self.port}", f"{SERVICE}:*", f"{EXTERNAL}:*"]
        flags = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "workers": "1",
            "app-name": "basic-auth",
            "backend-store-uri": self._postgres.uri("mlflow"),
            "default-artifact-root": f"s3://{BUCKET}/mlflow",
            "allowed-hosts": ",".join(allowed),
            "cors-allowed-origins": f"http://{EXTERNAL}:{self.port}",
            "x-frame-options": "DENY",
        }
        given = [text for name, value in flags.items() for text in (f"--{name}", value)]
        return [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *given]

    def _run(self, module_and_arguments: list[str]) -> None:
        log = self._folder / f"migrate-{module_and_arguments[0]}.log"
        command = [sys.executable, "-m", *module_and_arguments]
        job = Server(command, log)
        job.run()


@dataclass
class Stack:
    """The three servers, and who may do what."""

    folder: Path
    postgres: Postgres = field(default_factory=Postgres)
    s3: S3 = field(init=False)
    mlflow: Mlflow = field(init=False)

    def start(self) -> None:
        self.s3 = S3(self.folder)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), (self.postgres, self.s3)))
        self.mlflow = Mlflow(self.folder, self.postgres, self.s3)
        self.mlflow.migrate()
        self.mlflow.start()
        self._create_users()

    def stop(self) -> None:
        for name in ("mlflow", "s3"):
            if hasattr(self, name):
                getattr(self, name).stop()
        self.postgres.remove()

    def environment(self, user: str = "trainer") -> dict[str, str]:
        """Variables for a process that acts as `user`."""
        return {
            **self.s3.credentials,
            "AWS_ENDPOINT_URL": self.s3.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "MLFLOW_TRACKING_URI": self.mlflow.url,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": PASSWORDS[user],
            "MLFLOW_S3_ENDPOINT_URL": self.s3.url,
            "OMP_NUM_THREADS": "1",
        }

    def allow(self, user: str, model: str, permission: str = "EDIT") -> None:
        """Let a user create versions of a registered model and move its aliases."""
        body = {"username": user, "resource_type": "registered_model", "resource_id": model}
        path = "3.0/mlflow/users/permissions"
        with contextlib.suppress(urllib.error.HTTPError):  # nothing was granted yet
            self.mlflow.call("POST", f"{path}/revoke", body)
        self.mlflow.call("POST", f"{path}/grant", body | {"permission": permission})

    def _create_users(self) -> None:
        """Both may read everything; what else they may do is allowed model by model."""
        for user in ("trainer", "promoter"):
            body = {"username": user, "password": PASSWORDS[user]}
            self.mlflow.call("POST", "2.0/mlflow/users/create", body)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Start a stack; stop it at the end, whatever happens."""
    stack = Stack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
