"""Threads that share independent calculations on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The calling thread and further threads, each of which runs torch on one core.

    Small operations gain nothing from being divided between cores, but independent ones can run
    beside each other, since torch releases the interpreter's lock.
    """

    number: int
    others: ThreadPoolExecutor | None = None

    def __call__(self, run: Callable[[T], None], shares: Sequence[T]) -> None:
        """Run a function on at most ``number`` shares at the same time, in torch's mode here.

        An exception of any share is raised once all have ended.
        """
        if self.others is None or len(shares) < 2:
            for share in shares:
                run(share)
            return
        inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

        def elsewhere(share: T) -> None:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                run(share)

        running = [self.others.submit(elsewhere, share) for share in shares[1:]]
        torch.set_num_threads(1)
        try:
            run(shares[0])
        finally:
            torch.set_num_threads(self.number)
            errors = [future.exception() for future in running]
        for error in errors:
            if error is not None:
                raise error


@contextmanager
def workers(device: torch.device) -> Generator[Workers]:
    """As many threads as torch uses on the CPU; only the calling thread for any other device.

    Yields:
        The threads.
    """
    number = torch.get_num_threads() if device.type == "cpu" else 1
    if number == 1:
        yield Workers(1)
        return
    with ThreadPoolExecutor(number - 1, initializer=torch.set_num_threads, initargs=(1,)) as others:
        yield Workers(number, others)
    torch.set_num_threads(number)  # the threads have set the number of those to come
