"""Calls of functions in processes of Ray, which take over folder and environment of the command.

Arguments travel as bytes, so that a process sets its number of threads before it imports torch.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeVar

from keyneurons.cluster.connection import check_nodes
from keyneurons.cluster.options import RayOptions

K = TypeVar("K")

SENT = ("HF_", "HYDRA_", "KEYNEURONS_", "MKL_", "MLFLOW_", "OMP_", "OPENBLAS_", "TOKENIZERS_")
"""Prefixes of the variables that a process takes over from the command."""

CHECK_SECONDS = 5.0
LOST: Mapping[str, str] = {
    "WorkerCrashedError": "its process was killed",
    "NodeDiedError": "its node was lost",
    "ActorDiedError": "its process was killed or its node was lost",
    "OutOfMemoryError": "its process was killed, since the memory of its node was used up",
}


class LostProcess(Exception):
    """The process of a call, or its node, ended before the call."""


@dataclass(frozen=True)
class Returned:
    """The result of a call and its output."""

    value: Any
    out: str
    err: str


@dataclass(frozen=True)
class Surroundings:
    """Folder, import path and environment of the command, and the resources of a process."""

    folder: str
    path: tuple[str, ...]
    environment: Mapping[str, str]
    has_gpu: bool

    @classmethod
    def of(cls, options: RayOptions) -> Surroundings:
        """Those of this process, with one thread per CPU unless OMP_NUM_THREADS is set."""
        sent = {name: value for name, value in os.environ.items() if name.startswith(SENT)}
        environment = {"OMP_NUM_THREADS": str(options.num_cpus), **sent}
        return cls(os.getcwd(), tuple(sys.path), environment, options.num_gpus > 0)

    def enter(self) -> None:
        """Take them over in this process.

        Raises:
            ValueError: the folder does not exist on this node.
        """
        os.environ.update(self.environment)
        if not self.has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        sys.path.extend(path for path in self.path if path not in sys.path)
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise ValueError(
                f"{self.folder} is missing on node {socket.gethostname()}: the nodes need a shared disk"
            ) from error


def call(options: RayOptions, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of Ray.

    Ray never repeats a call: the process of a lost node may still be running and writing.

    Args:
        options: the resources of the process.
        function: the function, importable on every node.
        arguments: its arguments.

    Returns:
        Ray's reference to the result, for ``gather``.
    """
    import ray

    remote = ray.remote(_called).options(num_cpus=options.num_cpus, num_gpus=options.num_gpus, max_retries=0)
    return remote.remote(Surroundings.of(options), ray.cloudpickle.dumps((function, arguments)))


def _called(surroundings: Surroundings, content: bytes) -> Returned:
    surroundings.enter()
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        function, arguments = pickle.loads(content)
        value = function(*arguments)
    return Returned(value, out.getvalue(), err.getvalue())


def gather(options: RayOptions, calls: Mapping[Any, K]) -> Generator[tuple[K, Any | Exception]]:
    """Wait for calls; those that are unfinished when the generator ends are cancelled.

    Args:
        options: the resources of the processes.
        calls: references of the calls, each with its name.

    Yields:
        The name of each call as it ends, and its result, or the exception that ended it.

    Raises:
        ValueError: no node is left that has the resources.
    """
    import ray

    waiting = list(calls)
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=CHECK_SECONDS)
            for reference in done:
                yield calls[reference], result_of(reference)
            if not done:
                check_nodes(options)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        if waiting:
            ray.wait(waiting, num_returns=len(waiting), timeout=CHECK_SECONDS)


def result_of(reference: Any) -> Any | Exception:
    """The result of a finished call, or the exception that ended it.

    The exception is that of the function, or a ``LostProcess``.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        return error.cause
    except RayError as error:
        name = type(error).__name__
        return LostProcess(LOST.get(name, f"{name}: {' '.join(str(error).split())}"))
