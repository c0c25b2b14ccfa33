"""Time of complete commands: a run with empty and full cache, help, and a sweep of cached jobs.

Run with ``python benchmarks/run.py [repeats] [override ...]``; overrides apply to every command.
Fetch the model first (``keyneurons fetch``); activations are written to an empty cache.
"""

from __future__ import annotations

import os
import shutil
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
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "keyneurons", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | variables)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def empty_cache(folder: Path, cache: Path, name: str) -> str:
    """Create a cache with the models of ``cache`` and no activations; return its override."""
    (folder / name).mkdir()
    for kept in cache.iterdir():
        if kept.name not in {"activations", "probes"}:
            (folder / name / kept.name).symlink_to(kept)
    return f"cache={folder / name}"


def without_probes(cache: Path, arguments: Sequence[str]) -> Sequence[str]:
    """Remove the cached results of probes; return the arguments of the command."""
    shutil.rmtree(cache / "probes", ignore_errors=True)
    return arguments


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    overrides: Sequence[str] = sys.argv[2:]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cache = validate(compose("config", list(overrides))).cache.expanduser().resolve()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold = [seconds(folder, *overrides, empty_cache(folder, cache, f"cold{i}")) for i in range(repeats)]
        rows.append(["default run, empty cache", *spread(cold), ""])
        warm = [*overrides, f"cache={folder / 'cold0'}"]
        first = [seconds(folder, *without_probes(folder / "cold0", warm)) for _ in range(repeats)]
        rows.append(["default run, cached activations", *spread(first), ""])
        again = [seconds(folder, *warm) for _ in range(repeats)]
        rows.append(["the same repeated, cached results of controls", *spread(again), ""])
        rows.append(["keyneurons --help", *spread([seconds(folder, "--help") for _ in range(repeats)]), ""])
        seconds(folder, "extract", *SWEPT[2:], *warm)
        for launcher, more, variables in (
            ("basic", [], {}),
            ("joblib, 2 jobs of one thread each", ["hydra/launcher=joblib"], {"OMP_NUM_THREADS": "1"}),
        ):
            times = [
                seconds(folder, "-m", *more, *SWEPT, *without_probes(folder / "cold0", warm), **variables)
                for _ in range(repeats)
            ]
            each = f"{min(times) / N_JOBS:.2f}"
            rows.append([f"sweep of {N_JOBS} cached jobs, {launcher}", *spread(times), each])
    publish(
        "run",
        "Complete commands, seconds of wall time",
        ["command", "min", "median", "max", "per job (minimum)"],
        rows,
        repeats=repeats,
        notes="""Starter treebank, SmolLM2-135M, mlp layer 8 (the default); a run trains about 150 probes of all
        tags (99 random sets, controls, sets of several sizes) and 300 of single tags. There are no cached results of
        controls before a command, unless its row says so. The time of a sweep
        includes the comparison of its runs.""",
    )


if __name__ == "__main__":
    main()
