"""Finds, compares, tests and tracks key neurons of grammar in language models."""

from keyneurons.api import RunResult, UsageError, find_runs, load_run, run, runs_table
from keyneurons.version import __version__

__all__ = ["RunResult", "UsageError", "__version__", "find_runs", "load_run", "run", "runs_table"]
