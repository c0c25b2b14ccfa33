"""The planned memory, compared with the anonymous memory of a process that does the run."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from user import FEW_SETS, KEYNEURONS, Place

from keyneurons.cli.commands import _config as configured
from keyneurons.plan import make_plan


def peak_memory(command: list[str]) -> int:
    """Largest anonymous memory of a command in bytes, without mapped files, as in a plan."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status, most = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        lines = status.read_text(encoding="ascii").splitlines()
        most = max([most, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))])
        time.sleep(0.02)
    assert process.returncode == 0
    return most


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
@pytest.mark.parametrize("layers", ["all"])
def test_a_run_needs_the_planned_memory(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [*place.whole, *FEW_SETS, f"layer={layers}", f"cache={tmp_path / 'cache'}"]
    planned = max(need.needed for need in make_plan(configured(overrides)).needs if need.name.startswith("memory"))
    peak = peak_memory([str(KEYNEURONS), *overrides])
    assert planned / 2 < peak < 1.2 * planned
