"""PostgreSQL of the machine, in a folder of its own, on a loopback port."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg2
from processes import Server, free_port, until

PASSWORD = "of the database"
MISSING = (
    "PostgreSQL is not on this machine, and MLflow is proved on it: apt-get install postgresql "
    "(any of its tools in PATH or /usr/lib/postgresql/*/bin will do), then run again"
)


def tools() -> Path | None:
    """The folder of initdb and postgres, the newest; None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _version(folder: Path) -> float:
    return float(folder.parent.name) if folder.parent.name.replace(".", "").isdigit() else 0.0


class Postgres:
    """A cluster with the databases `mlflow` and `mlflow_auth`; data outlive restarts."""

    def __init__(self) -> None:
        found = tools()
        assert found is not None, MISSING
        self._tools = found
        # Not below pytest's folder: that is root's alone, and PostgreSQL refuses to be root.
        self.folder = Path(tempfile.mkdtemp(prefix="chainsight-postgres-"))
        self.port = free_port()
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._initdb()
        self._server = Server(self._command(), Path(f"{self.folder}.log"))

    def uri(self, database: str) -> str:
        password = PASSWORD.replace(" ", "%20")
        return f"postgresql+psycopg2://mlflow:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> float:
        seconds = self._server.start(self._answers)
        with contextlib.suppress(psycopg2.errors.DuplicateDatabase):
            for database in ("mlflow", "mlflow_auth"):
                self.execute(f"CREATE DATABASE {database}", database="postgres")
        return seconds

    def stop(self) -> None:
        self._server.stop(signal.SIGINT)  # "fast": without waiting for clients

    def kill(self) -> None:
        """kill -9, as a lost node does; the next start recovers from the log."""
        self._server.kill()
        self._wait_for_orphans()

    def restart(self, *, kill: bool = False) -> float:
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(f"{self.folder}.log").unlink(missing_ok=True)

    def execute(self, statement: str, *values: Any, database: str = "mlflow") -> list[Any]:
        """Run one statement outside a transaction; its rows."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="mlflow",
            password=PASSWORD,
            dbname=database,
            connect_timeout=5,
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def set_full(self, full: bool) -> None:
        """Take no more data, or take them again.

        A full disk seen from MLflow: hosted PostgreSQL goes read-only when its disk is full, and
        then every INSERT and UPDATE is refused, while reading goes on.
        """
        self.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if full else 'off'}")
        self.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)  # the sessions are told by a signal

    def _initdb(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        command = [*self._as_user, str(self._tools / "initdb"), "-D", str(self.folder / "data")]
        flags = ["-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        text = ["-E", "UTF8", "--locale=C"]
        subprocess.run([*command, *flags, *text], check=True, capture_output=True, cwd="/")

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            "fsync": "off",  # it guards against a lost machine; processes are all that die here
        }
        flags = [f"-c{name}={value}" for name, value in settings.items()]
        data = ["-D", str(self.folder / "data"), "-p", str(self.port)]
        return [*self._as_user, str(self._tools / "postgres"), *data, *flags]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1", database="postgres")
        except psycopg2.OperationalError:
            return False
        return True

    def _wait_for_orphans(self) -> None:
        """The sessions' processes notice the death of their parent and end; a new one waits."""
        data = self.folder / "data"
        links = Path("/proc").glob
        until(
            "the end of PostgreSQL's sessions",
            lambda: not any(_points_to(link, str(data)) for link in links("[0-9]*/cwd")),
            poll=0.05,
        )
        (data / "postmaster.pid").unlink(missing_ok=True)


def _points_to(link: Path, folder: str) -> bool:
    try:
        return str(link.readlink()) == folder
    except OSError:
        return False
