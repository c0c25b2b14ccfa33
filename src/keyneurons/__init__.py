"""Key neurons of grammar in language models: found, compared, tested, tracked."""

from keyneurons.api import RunResult, find_runs, load_run, run, runs_table
from keyneurons.version import __version__

__all__ = ["RunResult", "__version__", "find_runs", "load_run", "run", "runs_table"]
