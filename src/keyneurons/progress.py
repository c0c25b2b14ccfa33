"""Progress of the stages of a run: a bar on a terminal, and one line in the log."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

AFTER = 2.0
"""Seconds after which a stage is shown."""

INTERVAL = 0.2
"""Seconds between two updates of a bar."""

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a stage is.

    ``first`` is the number of steps that were done before it started. ``total`` may fall where
    fewer steps are needed than expected. ``count`` counts finished steps where other processes take
    them.
    """

    name: str
    total: int | None
    unit: str
    first: int
    started: float
    done: int
    count: Callable[[], int] | None = None

    def advance(self, steps: int = 1) -> None:
        """Count finished steps."""
        self.done += steps

    def update(self) -> None:
        """Count the steps of other processes, if there are any."""
        if self.count is not None:
            self.done = self.count()

    def text(self) -> str:
        """The stage in words: ``permutations: 120 of 1,000, about 15 s left``."""
        if self.total is None and not self.done:
            return self.name
        of_total = "" if self.total is None else f" of {self.total:,}"
        count = f"{self.done:,}{of_total} {self.unit}".rstrip()
        left = self._seconds_left()
        return f"{self.name}: {count}" + ("" if left is None else f", about {duration(left)} left")

    def _seconds_left(self) -> float | None:
        """The time left at the mean speed so far; None if it is unknown."""
        steps = self.done - self.first
        if self.total is None or steps <= 0:
            return None
        return max(0, self.total - self.done) * (time.monotonic() - self.started) / steps


@contextmanager
def stage(
    name: str,
    *,
    total: int | None = None,
    unit: str = "",
    first: int = 0,
    count: Callable[[], int] | None = None,
    after: float = AFTER,
) -> Generator[Progress]:
    """Show what the code in the block does, once it has taken some time.

    On a terminal, a bar appears, which is removed at the end of the block. The log has one line in
    any case. A thread shows both, so that a block which never calls ``advance`` is shown too. The
    environment variable ``TQDM_DISABLE`` turns the bars off.

    Args:
        name: what the stage does, such as ``permutations``.
        total: number of steps, if known.
        unit: what is counted, in the plural.
        first: number of steps that are already done.
        count: counts finished steps, if the block does not call ``advance``.
        after: seconds until the stage is shown.

    Yields:
        The progress, to be advanced.
    """
    progress = Progress(name, total, unit, first, time.monotonic(), first, count)
    ended, stream = threading.Event(), sys.stderr
    thread = threading.Thread(target=_show, args=(progress, stream, ended, after), daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()


def duration(seconds: float) -> str:
    """A rounded duration in words, such as ``15 s``, ``4 min`` or ``2.5 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def _show(progress: Progress, stream: Any, ended: threading.Event, after: float) -> None:
    if ended.wait(after):
        return
    progress.update()
    log.info("%s", progress.text())
    if stream is not None and stream.isatty() and not os.environ.get("TQDM_DISABLE"):
        _show_bar(progress, stream, ended)


def _show_bar(progress: Progress, stream: Any, ended: threading.Event) -> None:
    from tqdm import tqdm  # late, since stages may show imports

    with tqdm(
        desc=progress.name,
        total=progress.total,
        initial=progress.first,
        unit=f" {progress.unit or 'steps'}",
        bar_format="{desc} [{elapsed}]" if progress.total is None else None,
        file=stream,
        leave=False,
        dynamic_ncols=True,
        delay=1e-9,  # not shown before its start is set
    ) as bar:
        bar.start_t = time.time() - (time.monotonic() - progress.started)
        while True:
            progress.update()
            bar.n, bar.total = progress.done, progress.total
            if progress.total is None:
                bar.desc = progress.text()
            bar.refresh()
            if ended.wait(INTERVAL):
                break
