"""The command ``ui``: serves the MLflow UI for a store."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from keyneurons.addresses import for_mlflow
from keyneurons.cli.browser import open_later, open_page
from keyneurons.tracking import Store, app_name, view_address

LOCAL = ("localhost", "127.0.0.1", "[::1]")
PORT, N_PORTS = 5000, 100  # MLflow's default port, and how many are tried


def serve(store: Store, port: int | None, *, browser: bool, say: Callable[[str], object]) -> None:
    """Replace this process by an MLflow server on 127.0.0.1; for a remote store, open its page.

    Args:
        store: the store of the runs.
        port: port on 127.0.0.1; None for the first free one from 5000.
        browser: whether to open a browser, if there is one.
        say: prints a line for the user.

    Raises:
        ValueError: if the port is unavailable, or there are no runs.
    """
    if store.uri.startswith("http"):
        address = view_address(store.uri, store.prepare_view())
        say(f"the runs are on a server: open {address} in a browser")
        if browser:
            open_page(address)
        return
    free = free_port(port)
    store.prepare_view()
    command = _server_command(store, free)
    busy = "" if free == (port or PORT) else f" (port {PORT} is in use)"
    address = f"http://127.0.0.1:{free}"
    say(f"MLflow UI at {address}{busy}; stop it with Ctrl-C")
    if browser:
        open_later(address, f"{address}/health")
    # the job runner starts nine more processes, for features that need a model provider
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # deprecations inside MLflow
    os.execv(sys.executable, command)


def _server_command(store: Store, port: int) -> list[str]:
    """The command line of the server."""
    here = ",".join(name for host in LOCAL for name in (host, f"{host}:{port}"))  # excludes names like 10.example.org
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", app_name()]
    command += ["--backend-store-uri", for_mlflow(store.uri), "--host", "127.0.0.1", "--port", str(port)]
    if store.artifacts is not None:
        command += ["--default-artifact-root", store.artifacts.as_uri()]
    # the lifespan of MLflow's app only cleans up its assistant, and logs a traceback at Ctrl-C
    quiet = "--lifespan off --log-level warning"
    return [*command, "--allowed-hosts", here, "--workers", "1", "--uvicorn-opts", quiet]


def free_port(port: int | None) -> int:
    """The port, or the first free one from 5000 if it is None.

    Raises:
        ValueError: if another process uses the port, or opening it needs a permission.
    """
    wanted = range(PORT, PORT + N_PORTS) if port is None else [port]
    reasons = {}
    for each in wanted:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", each))
            except OSError as error:
                reasons[each] = error.strerror
            else:
                return each
    raise ValueError(f"port {wanted[0]} cannot be opened ({reasons[wanted[0]]}); choose another with --port")
