"""What every benchmark needs: times taken in turns, ratios, the machine, and a result that the report is made of."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS", Path(__file__).parent / "results"))
Times = dict[str, list[tuple[float, float]]]


def in_turns(functions: Mapping[str, Callable[[], object]], repeats: int) -> Times:
    """Wall and CPU seconds of each function, one after the other, again and again: what drifts, drifts for all."""
    times: Times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def ratios(times: Times, name: str, base: str, which: int = 0) -> list[float]:
    """Ratios of one function's times to another's of the same turn, sorted; ``which`` 0 is wall time, 1 CPU time."""
    return sorted(one[which] / other[which] for one, other in zip(times[name], times[base], strict=True))


def spread(values: Sequence[float]) -> list[str]:
    """Least, middle and largest value, as a table shows them."""
    return [f"{value:.3g}" for value in (min(values), median(values), max(values))]


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import torch

    name = next(
        (line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return {
        "processor": f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "versions": {package: version(package) for package in ("keyneurons", "torch", "transformers", "numpy")},
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def publish(
    name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, repeats: int, notes: str = ""
) -> None:
    """Print a table and keep it in ``results/NAME.json``.

    Args:
        name: of the file.
        title: of the table.
        columns: of the table.
        rows: of the table.
        repeats: how often each was timed.
        notes: what a reader must know besides.
    """
    result = {
        "title": title,
        "columns": list(columns),
        "rows": [[str(cell) for cell in row] for row in rows],
        "repeats": repeats,
        "notes": " ".join(notes.split()),
        "machine": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(f"{title} (repeats: {repeats})", columns, result["rows"])
    print(f"kept in {path}")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    print(title)
    text = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(columns))]
    for row in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def in_child(script: str, *arguments: str) -> tuple[str, float, float]:
    """Run a script of Python in a process of its own.

    Returns:
        What it printed, its wall seconds, and the most memory that it held, in MiB.
    """
    start = time.perf_counter()
    watched = f"{script}\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    done = subprocess.run([sys.executable, "-c", watched, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    *said, peak = done.stdout.strip().splitlines()
    return "\n".join(said), time.perf_counter() - start, int(peak) / 1024


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
