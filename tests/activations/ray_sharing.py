"""Workers of Ray that log their forward passes and may be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyneurons.activations import partial
from keyneurons.activations.capture import Capture
from keyneurons.activations.filling import ShareFiller
from keyneurons.activations.processes import Share
from keyneurons.activations.ray_workers import RayWorkers

LOG, KILL_AFTER = "KEYNEURONS_TEST_LOG", "KEYNEURONS_TEST_KILL_AFTER"


class Noting(ShareFiller):
    """Logs each pass of its process; kills the process before a pass on request."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        run, log, kill_after = Capture.__call__, Path(os.environ[LOG]), int(os.environ.get(KILL_AFTER, "-1"))

        def noted(self, inputs, take):
            if log.stat().st_size == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
            with log.open("a") as file:
                file.write(".")
            return run(self, inputs, take)

        Capture.__call__ = noted  # in a process of Ray
        partial.CHECKPOINT_SECONDS = -1


@dataclass(frozen=True)
class NotedWorkers(RayWorkers):
    """Workers that log their passes."""

    def launch(self, make: Callable[..., Share], **arguments: Any) -> None:
        super().launch(Noting, **arguments)
