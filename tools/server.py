"""A tracking server for several users: MLflow with a PostgreSQL database and a folder of artifacts.

    pip install "keyneurons[server]"
    python tools/server.py --folder /data/keyneurons

Users run with `tracking=server tracking.uri=http://HOST:5000`. Without `--database`, the script
starts its own PostgreSQL server with data in the folder, accessible only to this user through a
socket; PostgreSQL must be installed (Debian: postgresql). PostgreSQL does not run as root: start
the script as another user, or set `--postgres-user`. Ctrl-C or SIGTERM stops MLflow first and
PostgreSQL after it. There is no password: anyone who can reach the port can read, write and delete.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlparse

DATABASE = "keyneurons"


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL's programs, its data folder and the user that runs it (None: the current user)."""

    programs: Path
    data: Path
    user: str | None

    def call(self, program: str, *arguments: str) -> None:
        """Run a program and end with an error if it fails."""
        result = subprocess.run(
            [str(self.programs / program), *arguments],
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if result.returncode:
            reason = " ".join(result.stderr.split()) or f"see {self.data}/log"
            fail(f"{program} failed with status {result.returncode}: {reason}")

    def make_private(self, folder: Path) -> None:
        """Create a folder that is accessible only to PostgreSQL's user."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if self.user is not None:
            shutil.chown(folder, self.user, self.user)


def main() -> int:
    """Serve until a signal arrives.

    Returns:
        The exit status: 0 after a signal, otherwise that of MLflow.
    """
    options = parse(sys.argv[1:])
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = running(postgres_in(folder, options.postgres_user)) if options.database is None else nullcontext()
    try:
        with server as own_database:
            database = own_database or options.database
            create_database(database)
            return serve(database, folder / "artifacts", options)
    except KeyboardInterrupt:
        return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="MLflow with PostgreSQL, for several users")
    parser.add_argument("--folder", type=Path, default=Path("server"), help="folder of the artifacts and the database")
    parser.add_argument(
        "--database", help="postgresql://USER@HOST/NAME (password: ~/.pgpass); default: own database in FOLDER"
    )
    parser.add_argument("--postgres-user", help="user that runs PostgreSQL, if started by root")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2, help="MLflow processes (default: 2)")
    parser.add_argument("--allowed-hosts", help="host names that browsers may use, if HOST is not local")
    options = parser.parse_args(arguments)
    if options.database is not None and not options.database.startswith("postgresql://"):
        parser.error(f"--database must be postgresql://..., got {options.database!r}")
    return options


def postgres_in(folder: Path, user: str | None) -> Postgres:
    """Find the newest PostgreSQL programs, with data under this folder."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    folders.sort(key=lambda path: int(path.parent.name))
    if (on_path := shutil.which("initdb")) is not None:
        folders.append(Path(on_path).resolve().parent)
    if not folders:
        fail(
            "PostgreSQL is not installed (Debian: apt-get install postgresql); install it, or set --database postgresql://..."
        )
    if os.geteuid() == 0 and user in {None, "root"}:
        fail("PostgreSQL does not run as root: start this script as another user, or set --postgres-user postgres")
    return Postgres(folders[-1], folder / "postgres", user)


@contextmanager
def running(postgres: Postgres) -> Generator[str]:
    """Run PostgreSQL for the duration of a block, with a private socket instead of a port.

    Yields:
        The URI of the database.
    """
    data = postgres.data
    postgres.make_private(data)
    if not (data / "PG_VERSION").is_file():
        options = ["--username=keyneurons", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        postgres.call("initdb", "--pgdata", str(data), *options)
    with tempfile.TemporaryDirectory(prefix="keyneurons-") as place:  # the path of a socket must be short
        Path(place).chmod(0o755)
        socket = Path(place) / "socket"
        postgres.make_private(socket)
        listening = f"-c listen_addresses='' -c unix_socket_directories='{socket}'"
        control = ["--pgdata", str(data), "--wait", "--silent"]
        postgres.call("pg_ctl", "start", *control, "--log", str(data / "log"), "--options", listening)
        try:
            yield f"postgresql://keyneurons@/{DATABASE}?host={quote(str(socket), safe='')}"
        finally:
            postgres.call("pg_ctl", "stop", *control, "--mode", "fast")


def create_database(uri: str) -> None:
    """Create the database in a URI if it does not exist."""
    import psycopg2
    from psycopg2 import sql

    try:
        psycopg2.connect(uri).close()
    except psycopg2.OperationalError as error:
        name = urlparse(uri).path.removeprefix("/")
        if f'database "{name}" does not exist' not in str(error):
            fail(f"PostgreSQL is unreachable: {' '.join(str(error).split())}")
        connection = psycopg2.connect(uri, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        connection.close()


def serve(database: str, artifacts: Path, options: argparse.Namespace) -> int:
    """Run MLflow's server until it exits or a signal arrives.

    Returns:
        The exit status of the server.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "keyneurons"]
    command += ["--serve-artifacts", "--artifacts-destination", str(artifacts), "--workers", str(options.workers)]
    command += ["--host", options.host, "--port", str(options.port)]
    if options.allowed_hosts is not None:
        command += ["--allowed-hosts", options.allowed_hosts]
    variables = {
        # not on the command line, which other users can see; SQLAlchemy 2.1 uses another driver for
        # plain postgresql://
        "MLFLOW_BACKEND_STORE_URI": database.replace("postgresql://", "postgresql+psycopg2://", 1),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # otherwise starts eight more processes
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # in its own session: Ctrl-C reaches only this script, which stops the server before the
    # database
    server = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    print(f"runs go to tracking=server tracking.uri=http://{options.host}:{options.port}", flush=True)
    try:
        return server.wait()
    finally:
        end(server)


def end(server: subprocess.Popen[bytes]) -> None:
    """Stop a server and its child processes."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, how)
        except ProcessLookupError:
            return
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            continue


def fail(message: str) -> NoReturn:
    """Exit with a one-line error.

    Raises:
        SystemExit: Always.
    """
    raise SystemExit(f"server: error: {message}")


if __name__ == "__main__":
    sys.exit(main())
