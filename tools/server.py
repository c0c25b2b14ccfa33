"""A tracking server for several users: MLflow on a PostgreSQL database, with a folder of artifacts that it serves.

    pip install "keyneurons[server]"
    python tools/server.py --folder /data/keyneurons

and in everybody's runs: `tracking=server tracking.uri=http://HOST:5000`. Without `--database` a PostgreSQL of its own
lives in the folder, reached through a socket that only this user can open; its programs must be installed (Debian:
postgresql). It refuses to run as root: start this as another user, or name one (`--postgres-user`). Ctrl-C or SIGTERM
ends MLflow first and PostgreSQL after it. There is no password: whoever reaches the port can read, write and delete.
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
    """PostgreSQL's programs, the folder of its data, and the user that runs it (None: this one)."""

    programs: Path
    data: Path
    user: str | None

    def call(self, program: str, *arguments: str) -> None:
        """Run one of the programs to its end, which must be good."""
        done = subprocess.run(
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
        if done.returncode:
            fail(f"{program} ended with {done.returncode}: {' '.join(done.stderr.split()) or f'see {self.data}/log'}")

    def give(self, folder: Path) -> None:
        """Make a folder that only PostgreSQL's user can enter."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if self.user is not None:
            shutil.chown(folder, self.user, self.user)


def main() -> int:
    """Serve until a signal comes.

    Returns:
        The exit status: 0 after a signal, else MLflow's own.
    """
    options = parse(sys.argv[1:])
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    own = running(postgres_in(folder, options.postgres_user)) if options.database is None else nullcontext()
    try:
        with own as started:
            database = started or options.database
            create_database(database)
            return serve(database, folder / "artifacts", options)
    except KeyboardInterrupt:
        return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="MLflow on PostgreSQL, for several users")
    parser.add_argument("--folder", type=Path, default=Path("server"), help="of the artifacts and the database")
    parser.add_argument(
        "--database", help="postgresql://USER@HOST/NAME (password: ~/.pgpass); default: its own, in FOLDER"
    )
    parser.add_argument("--postgres-user", help="who runs PostgreSQL, where this is started by root")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2, help="MLflow processes (default: 2)")
    parser.add_argument("--allowed-hosts", help="names under which browsers may reach it, where HOST is not local")
    options = parser.parse_args(arguments)
    if options.database is not None and not options.database.startswith("postgresql://"):
        parser.error(f"--database must be postgresql://..., got {options.database!r}")
    return options


def postgres_in(folder: Path, user: str | None) -> Postgres:
    """PostgreSQL's newest programs, and its data in this folder."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found.sort(key=lambda path: int(path.parent.name))
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path).resolve().parent)
    if not found:
        fail("PostgreSQL is not installed (Debian: apt-get install postgresql); or give --database postgresql://...")
    if os.geteuid() == 0 and user in {None, "root"}:
        fail("PostgreSQL does not run as root: start this as another user, or give --postgres-user postgres")
    return Postgres(found[-1], folder / "postgres", user)


@contextmanager
def running(postgres: Postgres) -> Generator[str]:
    """PostgreSQL until the block ends; it listens on no port, only on a socket in a folder of its own.

    Yields:
        The URI of the database.
    """
    data = postgres.data
    postgres.give(data)
    if not (data / "PG_VERSION").is_file():
        options = ["--username=keyneurons", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        postgres.call("initdb", "--pgdata", str(data), *options)
    with tempfile.TemporaryDirectory(prefix="keyneurons-") as place:  # a socket's path must be short
        Path(place).chmod(0o755)
        socket = Path(place) / "socket"
        postgres.give(socket)
        listening = f"-c listen_addresses='' -c unix_socket_directories='{socket}'"
        control = ["--pgdata", str(data), "--wait", "--silent"]
        postgres.call("pg_ctl", "start", *control, "--log", str(data / "log"), "--options", listening)
        try:
            yield f"postgresql://keyneurons@/{DATABASE}?host={quote(str(socket), safe='')}"
        finally:
            postgres.call("pg_ctl", "stop", *control, "--mode", "fast")


def create_database(uri: str) -> None:
    """Create the database that a URI names, unless it is there."""
    import psycopg2
    from psycopg2 import sql

    try:
        psycopg2.connect(uri).close()
    except psycopg2.OperationalError as error:
        name = urlparse(uri).path.removeprefix("/")
        if f'database "{name}" does not exist' not in str(error):
            fail(f"PostgreSQL does not answer: {' '.join(str(error).split())}")
        connection = psycopg2.connect(uri, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        connection.close()


def serve(database: str, artifacts: Path, options: argparse.Namespace) -> int:
    """Run MLflow's server until it ends, or until a signal ends both.

    Returns:
        Its exit status.
    """
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--serve-artifacts", "--artifacts-destination", str(artifacts), "--workers", str(options.workers)]
    command += ["--host", options.host, "--port", str(options.port)]
    if options.allowed_hosts is not None:
        command += ["--allowed-hosts", options.allowed_hosts]
    variables = {
        # not on the command line, where others see it; SQLAlchemy 2.1 means another driver by plain postgresql://
        "MLFLOW_BACKEND_STORE_URI": database.replace("postgresql://", "postgresql+psycopg2://", 1),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else eight processes more
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # a session of its own: Ctrl-C reaches only us, and we end it before the database
    server = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    print(f"runs go to tracking=server tracking.uri=http://{options.host}:{options.port}", flush=True)
    try:
        return server.wait()
    finally:
        end(server)


def end(server: subprocess.Popen[bytes]) -> None:
    """End a server and all that it has started."""
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
    """End with one line.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(f"server: error: {message}")


if __name__ == "__main__":
    sys.exit(main())
