"""Environment variables and filters of each process: the command and the workers of a sweep."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType({
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow down a busy machine many times
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's threads always spin, and its share of the work is small
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",  # forked workers warn about it
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # logged errors are also raised
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with a server, MLflow prints two lines per run
    "HYDRA_FULL_ERROR": "1",  # Hydra raises errors instead of printing them
})


def set_environment() -> None:
    """Set the variables that libraries read at import, except those that the user has set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def keep_quiet() -> None:
    """Silence the warnings and tracebacks of libraries, so that an error is a single line."""
    # the launcher options have the names of the plugins' schemas, which complete and validate them
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
    logging.raiseExceptions = False  # no traceback if a log cannot be written
