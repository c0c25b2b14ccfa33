"""A Ray cluster on this machine: a head without CPUs, and two nodes with one CPU each."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster; ``address`` is that of its head."""

    cluster: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def lose(self, process: int) -> None:
        """Kill all processes of the node on which a process runs."""
        raylet = psutil.Process(process).ppid()
        [node] = [node for node in self.cluster.worker_nodes if raylet in pids(node)]
        self.cluster.remove_node(node, allow_graceful=False)


def pids(node: Any) -> set[int]:
    return {info.process.pid for processes in node.all_processes.values() for info in processes}


@contextmanager
def ray_nodes() -> Generator[Nodes]:
    """Start the cluster; all of its processes are gone on exit."""
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    before = descendants()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, wait=False)
        cluster.wait_for_nodes()
        yield Nodes(cluster)
    finally:
        cluster.shutdown()
        left = descendants() - before
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))
