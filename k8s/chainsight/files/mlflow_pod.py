"""What the MLflow server's pods do beside serving; the chart mounts this file.

    migrate [--wait]   brings both databases to MLflow's schema; waits for new ones to start
    settings FILE      writes basic-auth's settings file, which alone can name its database
    ready PORT         passes when the API answers out of the database (/health does not look at it)

Addresses and credentials come from the environment, and none is printed.
"""

import base64
import configparser
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TRACKING, USERS = "MLFLOW_BACKEND_STORE_URI", "CHAINSIGHT_MLFLOW_AUTH_URI"


def address(variable: str) -> str:
    """A database's address; MLflow takes `postgresql://` for a driver that the image lacks."""
    uri = os.environ.get(variable, "")
    if not uri.startswith("postgresql+psycopg2://"):
        raise SystemExit(
            f"{variable} begins with {uri.partition('://')[0]!r}; write "
            "postgresql+psycopg2://user:password@host/database into the Secret"
        )
    return uri


def wait(uri: str, seconds: float = 300.0) -> None:
    """Until the database takes connections."""
    import sqlalchemy

    end = time.monotonic() + seconds
    while True:
        try:
            sqlalchemy.create_engine(uri).connect().close()
            return
        except sqlalchemy.exc.OperationalError as error:
            if time.monotonic() > end:
                raise SystemExit(f"no database after {seconds:.0f} s: {error.orig}") from None
            time.sleep(2)


def migrate(*flags: str) -> None:
    """The commands of MLflow, in this process: arguments of one are seen by others."""
    tracking, users = address(TRACKING), address(USERS)
    if tracking == users:
        raise SystemExit("the tracking database and the users' one must be two")
    if "--wait" in flags:
        wait(tracking)
        wait(users)
    os.environ.pop("MLFLOW_AUTH_CONFIG_PATH", None)  # read on import, and not written yet
    from mlflow.cli import cli
    from mlflow.server.auth.cli import commands

    cli(["db", "upgrade", tracking], standalone_mode=False)
    commands(["db", "upgrade", "--url", users], standalone_mode=False)
    print("both databases have this MLflow's schema")


def settings(path: str) -> None:
    """Basic-auth's file; the administrator comes from the environment."""
    parser = configparser.ConfigParser(interpolation=None)
    parser["mlflow"] = {
        "default_permission": os.environ["CHAINSIGHT_MLFLOW_DEFAULT_PERMISSION"],
        "database_uri": address(USERS).replace("%", "%%"),  # MLflow's reader interpolates
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    os.umask(0o027)  # it holds a password
    with Path(path).open("w", encoding="utf-8") as file:
        parser.write(file)


def ready(port: str) -> None:
    """Asks for one experiment as the administrator.

    401 passes: the users' database answered, and a password that was changed in MLflow but not in
    the Secret must not take all pods out of service.
    """
    names = ("MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD")
    user = ":".join(os.environ[name] for name in names)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Authorization": "Basic " + base64.b64encode(user.encode()).decode()},
    )
    try:
        urllib.request.urlopen(request, timeout=8).close()
    except urllib.error.HTTPError as error:
        if error.code != 401:
            said = error.read(300).decode(errors="replace")
            raise SystemExit(f"HTTP {error.code}: {said}") from None
    except OSError as error:
        raise SystemExit(f"no answer: {error}") from None


if __name__ == "__main__":
    {"migrate": migrate, "settings": settings, "ready": ready}[sys.argv[1]](*sys.argv[2:])
