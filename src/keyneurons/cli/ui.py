"""The command ``ui``: serves the MLflow UI for a store."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from keyneurons.addresses import for_mlflow
from keyneurons.tracking import Store, view_address

LOCAL = ("localhost", "127.0.0.1", "[::1]")


def serve(store: Store, port: int, say: Callable[[str], object]) -> None:
    """Replace this process by an MLflow server on 127.0.0.1; for a remote store, print its address.

    Args:
        store: the store of the runs.
        port: port on 127.0.0.1.
        say: prints a line for the user.

    Raises:
        ValueError: if the port is unavailable.
    """
    if not store.uri.startswith("http"):
        check_free(port)
    experiment_id = store.prepare_view()
    if store.uri.startswith("http"):
        say(f"the runs are on a server: open {view_address(store.uri, experiment_id)} in a browser")
        return
    say(f"MLflow UI at {view_address(f'http://127.0.0.1:{port}', experiment_id)} (stop it with Ctrl-C)")
    # the job runner starts nine more processes, for features that need a model provider
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    here = ",".join(name for host in LOCAL for name in (host, f"{host}:{port}"))  # excludes names like 10.example.org
    arguments = ["server", "--backend-store-uri", for_mlflow(store.uri), "--host", "127.0.0.1", "--port", str(port)]
    if store.artifacts is not None:
        arguments += ["--default-artifact-root", store.artifacts.as_uri()]
    arguments += ["--allowed-hosts", here, "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


def check_free(port: int) -> None:
    """Check that a server can open the port.

    Raises:
        ValueError: if another process uses the port, or opening it needs a permission.
    """
    with socket.socket() as wanted:
        wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wanted.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} cannot be opened ({error.strerror}); choose another with --port") from error
