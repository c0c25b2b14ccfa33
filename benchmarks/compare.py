"""Time and peak memory of ``keyneurons compare`` by the number of runs.

Run with ``python benchmarks/compare.py [runs ...]``; the default is 25, 100 and 200. A real run on
the starter treebank is logged repeatedly to a new store, under the names of five methods and with
randomly drawn key neurons. Fetch the model first (``keyneurons fetch``).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import publish
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

METHODS = ("correlation", "mutual_information", "mean_difference", "f_test", "probeless")


def command(folder: Path, *arguments: str) -> tuple[float, float]:
    """Wall seconds of a command and its peak memory in MiB.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    called = [sys.executable, "-m", "keyneurons", *arguments]
    log = folder / "log"
    with log.open("w") as file, subprocess.Popen(called, cwd=folder, stdout=file, stderr=file) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(log.read_text(encoding="utf-8"))
    return time.perf_counter() - start, used.ru_maxrss / 1024


def log_again(folder: Path, number: int) -> None:
    """Log ``number`` copies of the run in the store with other key neurons."""
    client = MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    [experiment] = [each for each in client.search_experiments() if each.name == "keyneurons"]
    [done] = client.search_runs([experiment.experiment_id])
    source = Path(client.download_artifacts(done.info.run_id, ""))
    key = json.loads((source / "key_neurons.json").read_text(encoding="utf-8"))
    draw, copy = random.Random(number), folder / "copy"
    copy.mkdir(exist_ok=True)
    (copy / "config.yaml").write_text((source / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    for i in range(number):
        method = METHODS[i % len(METHODS)]
        for neurons in key["tags"].values():
            for neuron, other in zip(neurons, draw.sample(range(key["neurons_per_layer"]), len(neurons)), strict=True):
                neuron["neuron"] = other
        (copy / "key_neurons.json").write_text(json.dumps(key), encoding="utf-8")
        swapped = {"selection": method, "seed": str(i)}
        tags = done.data.tags | {"mlflow.runName": f"{method} {i}", "selection": method}
        run = client.create_run(experiment.experiment_id, tags=tags)
        client.log_batch(
            run.info.run_id,
            [Metric(name, value, 0, 0) for name, value in done.data.metrics.items()],
            [Param(name, value) for name, value in (done.data.params | swapped).items()],
            [RunTag("of", str(number))],
        )
        client.log_artifacts(run.info.run_id, str(copy))
        client.set_terminated(run.info.run_id)


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [25, 100, 200]
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        for number in sorted(sizes):
            folder = Path(name) / str(number)
            folder.mkdir()
            command(folder, "reliability.halves=0", "reliability.bootstraps=0")
            log_again(folder, number)
            seconds, peak = command(folder, "compare", f"filter=tags.of = '{number}'")
            [page] = folder.glob("outputs/**/report.html")
            rows.append([number, f"{seconds:.1f}", f"{peak:.0f}", f"{page.stat().st_size / 2**20:.1f}"])
    publish(
        "compare",
        "keyneurons compare: tables, figures and page",
        ["runs", "seconds", "peak MiB", "page, MiB"],
        rows,
        repeats=1,
        notes="Ten key neurons for each of 15 tags; an SQLite store.",
    )


if __name__ == "__main__":
    main()
