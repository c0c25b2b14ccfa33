"""Processes of Ray that make an object once and use it for many tasks."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

from keyneurons.cluster.calls import CHECK_SECONDS, Surroundings, result_of
from keyneurons.cluster.connection import capacity, check_nodes
from keyneurons.cluster.options import RayOptions


class _Worker:
    """A process of Ray."""

    _do: Callable[..., None]

    def prepare(self, surroundings: Surroundings, content: bytes) -> bool:
        """Make the object; returns whether a task is done."""
        surroundings.enter()
        self._do = pickle.loads(content)()
        return False

    def do(self, task: Sequence[Any]) -> bool:
        """Do a task; returns whether a task is done."""
        self._do(*task)
        return True


def spread(
    options: RayOptions, make: Callable[[], Callable[..., None]], tasks: Sequence[Sequence[Any]]
) -> Generator[None]:
    """Do tasks in processes of Ray, each process one after the other.

    Ray never repeats a task: the process of a lost node may still be running and writing.

    Args:
        options: number of processes, and the resources of each.
        make: makes the function that does the tasks, once per process.
        tasks: the arguments of each task.

    Yields:
        Nothing, after each task.

    Raises:
        ValueError: raised by a task, or no node is left that has the resources.
        LostProcess: a process or its node ended before its task.
    """
    import ray

    actor = ray.remote(_Worker).options(
        num_cpus=options.num_cpus, num_gpus=options.num_gpus, max_restarts=0, max_task_retries=0
    )
    workers = [actor.remote() for _ in range(min(options.workers or capacity(options), len(tasks)))]
    content = ray.put(ray.cloudpickle.dumps(make))
    running = {worker.prepare.remote(Surroundings.of(options), content): worker for worker in workers}
    left = deque(tasks)
    n_done = 0
    try:
        while n_done < len(tasks):
            ended, _ = ray.wait(list(running), timeout=CHECK_SECONDS)
            for reference in ended:
                worker, result = running.pop(reference), result_of(reference)
                if isinstance(result, Exception):
                    raise result
                if left:
                    running[worker.do.remote(left.popleft())] = worker
                if result:
                    n_done += 1
                    yield
            if not ended:
                check_nodes(options)
    finally:
        for worker in workers:
            ray.kill(worker)
