"""The examples run and produce their documented results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from user import Place, runs_in

SEARCH = Path(__file__).parents[2] / "examples" / "search_with_optuna.py"


@pytest.mark.long
@pytest.mark.slow
def test_a_search_asks_and_tells(environment: dict[str, str], place: Place, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    given = [o for o in place.small if not o.startswith(("layer=", "top_k="))]
    done = subprocess.run(
        [sys.executable, str(SEARCH), "--trials", "3", "--layers", "3", *given],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *trials, best, test = done.stdout.splitlines()
    runs = {run.info.run_id: run.data.metrics for run in runs_in(tmp_path)}
    assert [line.split("run ")[1] for line in trials] == list(runs)
    chosen = runs[best.split()[4].rstrip(",")]
    assert chosen["probe/dev_accuracy"] == max(metrics["probe/dev_accuracy"] for metrics in runs.values())
    assert test.startswith(f"test accuracy {chosen['probe/test_accuracy']:.3f}")
