"""Extraction by processes of Ray, on one machine or many."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from keyneurons.activations.processes import Share
from keyneurons.cluster.connection import connected
from keyneurons.cluster.options import RayOptions
from keyneurons.cluster.workers import spread
from keyneurons.progress import stage

T = TypeVar("T")

SHARES = 64
"""Shares of a pass, of which a worker does one after the other.

The number does not depend on the cluster, so that an interrupted extraction resumes with any number
of workers; further workers would be idle.
"""


@dataclass(frozen=True)
class RayWorkers:
    """Processes of Ray that share a pass; this process manages the files."""

    options: RayOptions
    alone: ClassVar[bool] = False
    first: ClassVar[bool] = True
    number: ClassVar[int] = SHARES

    def broadcast(self, value: T) -> T:
        """The value itself."""
        return value

    def wait(self) -> None:
        """Nothing to wait for: ``launch`` returns when all shares are done."""

    def launch(self, make: Callable[..., Share], **arguments: Any) -> None:
        """Do all shares with the functions that ``make(device, **arguments)`` returns.

        Raises:
            ValueError: raised by a worker, or no node has the resources of a worker.
            LostProcess: a worker or its node ended before its share.
        """
        device = "cuda:0" if self.options.num_gpus else "cpu"
        shares = [(rank, SHARES) for rank in range(SHARES)]
        task = functools.partial(make, device, **arguments)
        reading = stage(f"reading activations of {arguments['name']}", total=SHARES, unit="shares")
        with connected(self.options), reading as progress:
            for _ in spread(self.options, task, shares):
                progress.advance()
