"""Two processes read the same activations as one, bit for bit, each word once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from models import save_tiny_model, sentences

from keyneurons.activations.processes import Processes

SCRIPT = Path(__file__).parent / "sharing.py"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # sums depend on the number of threads


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    save_tiny_model(folder / "tiny", "llama")
    return folder


def read(
    folder: Path, store: str, devices: int, *launcher: str, more: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ``sharing.py``, which reads the tiny model's activations in several processes."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(SCRIPT.parent.parent)}
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), store, str(devices), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def arrays(folder: Path, store: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / store).glob("*/*.npy")}


def steps(folder: Path, store: str) -> list[int]:
    """Number of forward passes that each process logged."""
    return sorted(len(path.read_text()) for path in folder.glob(f"{store}-passes-*"))


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, bytes]:
    done = read(folder, "alone", 1)
    assert done.returncode == 0, done.stderr
    assert steps(folder, "alone") == [len(sentences())]  # one sentence per batch
    return arrays(folder, "alone")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["own", pytest.param("torchrun", marks=pytest.mark.long)])
def test_two_processes_read_each_word_once_and_the_same(folder: Path, alone: dict[str, bytes], launcher: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    done = read(folder, launcher, 2, *(torchrun if launcher == "torchrun" else []))
    assert done.returncode == 0, done.stderr
    assert arrays(folder, launcher) == alone
    assert set(alone) == {"residual.0.npy", "residual.2.npy", "mlp.1.npy"}
    half = len(sentences()) // 2
    assert steps(folder, launcher) == [half, len(sentences()) - half]
    left = {path.name for path in (folder / launcher).rglob("*") if path.suffix not in {".npy", ".json", ".lock"}}
    assert len(left) == 1  # the entry, without partial arrays


@pytest.mark.long
@pytest.mark.slow
def test_interrupted_they_go_on_where_each_stopped(folder: Path, alone: dict[str, bytes]) -> None:
    (folder / "killed-stop").touch()
    assert read(folder, "killed", 2).returncode != 0
    (folder / "killed-stop").unlink()
    assert not arrays(folder, "killed") or "partial" in str(next((folder / "killed").rglob("*.npy")))
    before = steps(folder, "killed")
    done = read(folder, "killed", 2)
    assert done.returncode == 0, done.stderr
    assert arrays(folder, "killed") == alone
    assert before == [2, 2]
    assert sum(steps(folder, "killed")) == len(sentences())


@pytest.mark.long
@pytest.mark.slow
def test_what_is_wrong_in_a_process_is_told_as_if_it_were_here(folder: Path) -> None:
    done = read(folder, "wrong", 2, more=["overflow"])
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith("ValueError: activation of mlp layer 1 neuron 3 is too large for float16")


def test_other_machines_need_a_launcher() -> None:
    with pytest.raises(ValueError, match=r"activations.num_nodes=2 needs one process per device, started by torchrun"):
        _ = Processes("cpu", 2, 2).number
    with pytest.raises(ValueError, match="activations.devices=0: "):
        _ = Processes("cpu", 0).number


def test_one_device_is_this_process() -> None:
    assert (Processes().number, Processes().first, Processes().launched) == (1, True, False)
