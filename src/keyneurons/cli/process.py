"""What a process of ours sets before it works: the command, a worker of a sweep, a notebook."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType({
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads that spin make a busy machine many times slower
    "OPENBLAS_NUM_THREADS": "1",  # those of numpy spin whatever one says; its share of the work is small
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a research tool calls nobody
    "TOKENIZERS_PARALLELISM": "false",  # forked workers warn about it
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what it logs as an error it also raises, and we tell it
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a server's client prints two lines a run
    "HYDRA_FULL_ERROR": "1",  # lets errors through to us instead of printing them itself
})


def set_environment() -> None:
    """Set the variables that libraries read as they are imported, but for those that the user has set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def keep_quiet() -> None:
    """Silence what would stand beside the one line of an error."""
    # our launchers' options bear the names of the plugins' own, which complete and check them
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
    logging.raiseExceptions = False  # a log on a full disk ends there
