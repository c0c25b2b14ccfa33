"""Whole commands: a run cold and cached, help, and a sweep of cached jobs.

Run with ``python benchmarks/run.py [repeats] [override ...]``; overrides go to every command. The model must be fetched
(``keyneurons fetch``); activations go to an empty cache beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import publish, spread
from hydra import compose, initialize_config_dir

from keyneurons.config.paths import conf_folder
from keyneurons.config.validation import validate

SWEPT = ["selection=correlation,mutual_information,mean_difference", "top_k=5,10,20", "layer=8,16"]
N_JOBS = 18


def seconds(folder: Path, *arguments: str, **variables: str) -> float:
    """Wall seconds of one command.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "keyneurons", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | variables)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def empty_cache(folder: Path, cache: Path, name: str) -> str:
    """A cache with the models of another and no activations."""
    (folder / name).mkdir()
    for kept in cache.iterdir():
        if kept.name != "activations":
            (folder / name / kept.name).symlink_to(kept)
    return f"cache={folder / name}"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    given: Sequence[str] = sys.argv[2:]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cache = validate(compose("config", list(given))).cache.expanduser().resolve()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold = [seconds(folder, *given, empty_cache(folder, cache, f"cold{i}")) for i in range(repeats)]
        rows.append(["default run, nothing cached", *spread(cold), ""])
        warm = [*given, f"cache={folder / 'cold0'}"]
        rows.append(["default run, cached", *spread([seconds(folder, *warm) for _ in range(repeats)]), ""])
        rows.append(["keyneurons --help", *spread([seconds(folder, "--help") for _ in range(repeats)]), ""])
        seconds(folder, "extract", *SWEPT[2:], *warm)
        for launcher, more, variables in (
            ("basic", [], {}),
            ("joblib, 2 jobs of a thread each", ["hydra/launcher=joblib"], {"OMP_NUM_THREADS": "1"}),
        ):
            took = [seconds(folder, "-m", *more, *SWEPT, *warm, **variables) for _ in range(repeats)]
            each = f"{min(took) / N_JOBS:.2f}"
            rows.append([f"sweep of {N_JOBS} cached jobs, {launcher}", *spread(took), each])
    publish(
        "run",
        "Whole commands, seconds of wall time",
        ["command", "min", "median", "max", "per job, at best"],
        rows,
        repeats=repeats,
        notes="""Starter treebank, SmolLM2-135M, mlp layer 8 (the default); a run trains 22 probes of all tags, 90 of
        single tags and one on all neurons. A sweep ends with the comparison of its runs, which is counted.""",
    )


if __name__ == "__main__":
    main()
