"""The connection of this process to Ray, which it starts and stops if no cluster is named."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from keyneurons.cluster.options import PREFIX, RayOptions

LOCAL: Mapping[str, Any] = MappingProxyType({
    "address": "local",  # None would connect to any Ray on this machine
    "include_dashboard": False,
    "object_store_memory": 100 * 2**20,  # jobs exchange files, not objects
})
SECONDS = 10.0


@contextmanager
def connected(options: RayOptions) -> Generator[None]:
    """Connect to a cluster for the duration of a block, or start Ray on this machine.

    A process that is connected already stays so.

    Args:
        options: the address and the resources of a job, which at least one node must have.

    Yields:
        Nothing.

    Raises:
        ValueError: the cluster is unreachable, or no node has the resources.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        _connect(options.address)
        check_nodes(options)
        yield
    finally:
        _disconnect()


def _disconnect() -> None:
    """Disconnect, and wait for the end of processes that Ray has started for this one."""
    import psutil
    import ray

    started = psutil.Process().children(recursive=True)
    ray.shutdown()
    psutil.wait_procs(started, timeout=SECONDS)  # their runs can be closed once they have ended


def check_nodes(options: RayOptions) -> None:
    """Check that at least one node has the resources of a job.

    Raises:
        ValueError: jobs would wait forever.
    """
    nodes = _nodes()
    if any(_fits(node, options) for node in nodes):
        return
    wanted = ", ".join(f"{PREFIX}.{name}={getattr(options, name)}" for name in ("num_cpus", "num_gpus"))
    largest = ", ".join(f"{max((node.get(name, 0) for node in nodes), default=0):g} {name}s" for name in ("CPU", "GPU"))
    raise ValueError(f"{wanted}: no node of the Ray cluster has these resources; the largest has {largest}")


def capacity(options: RayOptions) -> int:
    """Number of jobs that run at a time on an idle cluster."""
    return sum(_fits(node, options) for node in _nodes())


def _fits(node: Mapping[str, float], options: RayOptions) -> int:
    """Number of jobs that run at a time on an idle node."""
    return min(int(node.get(name, 0) // amount) for name, amount in options.demand.items())


def _nodes() -> list[Mapping[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _connect(address: str | None) -> None:
    """Connect to Ray and keep this process's reaction to SIGTERM.

    Raises:
        ValueError: the cluster is unreachable, or refuses this process.
    """
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    ray._private.worker._worker_logs_enabled = False  # Ray's remarks on killed processes, printed on stdout
    try:
        arguments = LOCAL if address is None else {"address": _reachable(address)}
        ray.init(**arguments, logging_level="CRITICAL", log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        where = "cannot start Ray" if address is None else f"cannot connect to Ray at {PREFIX}.address={address}"
        raise ValueError(f"{where}: {' '.join(str(error).split())}") from error
    finally:
        signal.signal(signal.SIGTERM, handler)


def _reachable(address: str) -> str:
    """The address, ``auto`` resolved; Ray itself would try for a quarter of an hour.

    Raises:
        OSError: nothing listens there.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    found = str(canonicalize_bootstrap_address_or_die(address))
    host, _, port = found.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS):
        return found
