"""Keeps the greetings and the advice of libraries off the console; the log of the run has them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager

_LIGHTNING = ("lightning.pytorch", "lightning.fabric")

log = logging.getLogger(__name__)


class _IntoOurLog(logging.Handler):
    """Passes what a library logs on to our own log, where a run keeps it and no console shows it."""

    def emit(self, record: logging.LogRecord) -> None:
        log.info("%s: %s", record.name, record.getMessage())


@contextmanager
def quiet_lightning() -> Generator[None]:
    """Keep the information and the warnings that Lightning itself gives off the console; restored on exit.

    Its errors, and the warnings of every other library, still pass.
    """
    with warnings.catch_warnings(), _redirected(_LIGHTNING):
        # its warnings are advice on speed and logging; what is wrong with a fit it raises
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield


@contextmanager
def quiet_transformers() -> Generator[None]:
    """Keep the warnings and progress bars of transformers off the console for a while."""
    from transformers.utils import logging as of_transformers

    bars = of_transformers.is_progress_bar_enabled()
    of_transformers.disable_progress_bar()
    of_transformers.get_verbosity()  # sets up its logger, lest it does so inside
    try:
        with _redirected(("transformers",)):
            yield
    finally:
        if bars:
            of_transformers.enable_progress_bar()


@contextmanager
def _redirected(names: Sequence[str]) -> Generator[None]:
    """Let some loggers write into our log only."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [_IntoOurLog()], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
