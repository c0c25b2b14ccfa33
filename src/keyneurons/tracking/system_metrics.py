"""MLflow's system metrics of a run that takes longer than some seconds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

from keyneurons.addresses import for_mlflow

START_SECONDS = 10.0
"""Shorter runs are not sampled and import nothing for it."""

INTERVAL_SECONDS = 10.0

PREFIX = "system/"
"""Beginning of the names of these metrics, which describe the machine and not the result."""

log = logging.getLogger(__name__)


@contextmanager
def system_metrics(
    uri: str, run_id: str, *, start: float = START_SECONDS, interval: float = INTERVAL_SECONDS
) -> Generator[None]:
    """Log the load of the machine to a run, from a thread.

    Args:
        uri: the tracking URI.
        run_id: the run.
        start: seconds until the first sample.
        interval: seconds between two samples.

    Yields:
        Nothing; sampling ends with the context.
    """
    ended = threading.Event()

    def sample() -> None:
        if not ended.wait(start):
            try:
                _monitor(uri, run_id, interval, ended)
            except Exception as error:  # the run continues without them
                log.warning("system metrics are not logged: %s", error)

    thread = threading.Thread(target=sample, name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _monitor(uri: str, run_id: str, interval: float, ended: threading.Event) -> None:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=interval, tracking_uri=for_mlflow(uri))
    monitor.start()
    ended.wait()
    monitor.finish()
