"""Redirects messages of libraries from the console to the log of the run."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager

_LIGHTNING = ("lightning.pytorch", "lightning.fabric")

log = logging.getLogger(__name__)


class _LogHandler(logging.Handler):
    """Forwards the log records of a library to this package's log."""

    def emit(self, record: logging.LogRecord) -> None:
        log.info("%s: %s", record.name, record.getMessage())


def import_progress_bars() -> None:
    """Import tqdm's bars, which other libraries use, without a notebook's hint to ipywidgets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        importlib.import_module("tqdm.auto")


@contextmanager
def quiet_lightning() -> Generator[None]:
    """Hide Lightning's own messages and warnings from the console; restored on exit.

    Lightning's exceptions and the warnings of other libraries are unaffected.
    """
    with warnings.catch_warnings(), _redirected(_LIGHTNING):
        # its warnings are advice on speed and logging; errors in training are raised
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield


@contextmanager
def quiet_transformers() -> Generator[None]:
    """Hide the warnings and progress bars of transformers from the console; restored on exit."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    transformers_logging.get_verbosity()  # sets up its logger before the redirection
    try:
        with _redirected(("transformers",)):
            yield
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def quiet_matplotlib() -> Generator[None]:
    """Redirect the log of matplotlib, such as missing fonts, to the log of the run."""
    with _redirected(("matplotlib",)):
        yield


@contextmanager
def _redirected(names: Sequence[str]) -> Generator[None]:
    """Redirect loggers to this package's log only."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [_LogHandler()], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
