"""Shared functions of the benchmarks: timings, ratios, the machine, and result files."""

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

from reach import with_reach

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS", Path(__file__).parent / "results"))
Times = dict[str, list[tuple[float, float]]]


def time_in_turns(functions: Mapping[str, Callable[[], object]], repeats: int) -> Times:
    """Time all functions in turn, several times, so that a drift in speed affects all of them.

    Returns:
        Wall and CPU seconds of every call, by function.
    """
    times: Times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def ratios(times: Times, name: str, base: str, which: int = 0) -> list[float]:
    """Sorted ratios of two functions' times by turn; ``which`` is 0 for wall, 1 for CPU time."""
    return sorted(one[which] / other[which] for one, other in zip(times[name], times[base], strict=True))


def spread(values: Sequence[float]) -> list[str]:
    """Format minimum, median and maximum for a table."""
    return [f"{value:.3g}" for value in (min(values), median(values), max(values))]


def machine() -> dict[str, Any]:
    """Processor, device, package versions and load of this machine."""
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
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    repeats: int,
    notes: str = "",
    finished: bool = True,
) -> None:
    """Print a table and write it to ``results/NAME.json``.

    Args:
        name: name of the file.
        title: title of the table.
        columns: heads of the columns.
        rows: cells of the table.
        repeats: number of timings of each function.
        notes: text below the table.
        finished: whether all rows are measured; a table with further rows to come is not printed.
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
    if finished:
        show(f"{title} (repeats: {repeats})", *with_reach(name, columns, result["rows"]))
        print(f"written to {path}")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    print(title)
    text = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(columns))]
    for row in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def run_in_child(script: str, *arguments: str) -> tuple[str, float, float]:
    """Run a Python script in a child process.

    Returns:
        Its output, its wall seconds, and its peak memory in MiB.

    Raises:
        SystemExit: the script failed; the message is its standard error.
    """
    start = time.perf_counter()
    measured = f"{script}\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    done = subprocess.run([sys.executable, "-c", measured, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    *output, peak = done.stdout.strip().splitlines()
    return "\n".join(output), time.perf_counter() - start, int(peak) / 1024


def peak_mib() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
