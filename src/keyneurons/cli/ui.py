"""MLflow's UI on the runs of a store."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from keyneurons.addresses import for_mlflow
from keyneurons.tracking import Store, view_address

LOCAL = ("localhost", "127.0.0.1", "[::1]")


def serve(store: Store, port: int, say: Callable[[str], object]) -> None:
    """Become the server of MLflow's UI, for this machine alone; a store that is on a server has one already.

    Args:
        store: whose runs are shown.
        port: of 127.0.0.1.
        say: takes lines for the user.

    Raises:
        ValueError: the port cannot be had.
    """
    if not store.uri.startswith("http"):
        _check_free(port)
    experiment_id = store.prepare_view()
    if store.uri.startswith("http"):
        say(f"the runs are on a server; open {view_address(store.uri, experiment_id)} in a browser")
        return
    say(f"MLflow on {view_address(f'http://127.0.0.1:{port}', experiment_id)} (Ctrl-C ends it)")
    # the job runner would start nine more processes for features that need a model provider
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    here = ",".join(name for host in LOCAL for name in (host, f"{host}:{port}"))  # not also names like 10.example.org
    arguments = ["server", "--backend-store-uri", for_mlflow(store.uri), "--host", "127.0.0.1", "--port", str(port)]
    if store.artifacts is not None:
        arguments += ["--default-artifact-root", store.artifacts.as_uri()]
    arguments += ["--allowed-hosts", here, "--workers", "1"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


def _check_free(port: int) -> None:
    """Refuse a port that the server could not have.

    Raises:
        ValueError: another process has it, or it needs a permission.
    """
    with socket.socket() as wanted:
        wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wanted.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} cannot be opened ({error.strerror}); choose another with --port") from error
