"""Workers of Ray read what one process reads, and resume where a killed one stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models import sentences
from ray_sharing import KILL_AFTER, LOG, NotedWorkers

from keyneurons.activations.processes import Processes, Sharing
from keyneurons.activations.ray_workers import RayWorkers
from keyneurons.activations.store import ActivationStore
from keyneurons.cluster.calls import LostProcess
from keyneurons.cluster.connection import connected
from keyneurons.cluster.options import RayOptions

pytest.importorskip("ray")


def test_a_share_is_the_same_with_any_number_of_workers() -> None:
    one, many = (RayWorkers(RayOptions(workers=n)) for n in (1, 9))
    assert (one.number, one.alone, one.first) == (many.number, many.alone, many.first) == (64, False, True)
    assert isinstance(one, Sharing)
    assert isinstance(Processes(), Sharing)


@pytest.mark.slow
def test_a_killed_worker_costs_one_pass(
    reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_threads: None
) -> None:
    text = sentences()
    options = {"batch_tokens": 1, "prefetch": {"mlp": (1,)}}  # one sentence per batch
    reader(**options, store=ActivationStore(tmp_path / "alone"))(text, "x")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    with connected(RayOptions()):  # each call starts workers of its own
        passes = tmp_path / "passes"
        monkeypatch.setenv(LOG, str(passes))
        passes.touch()
        monkeypatch.setenv(KILL_AFTER, "3")
        with pytest.raises(LostProcess, match="^its process was killed or its node was lost$"):
            reader(**options, processes=NotedWorkers(RayOptions(workers=1)))(text, "x")
        assert len(list((tmp_path / "store").rglob("partial-*"))) == 2
        monkeypatch.setenv(KILL_AFTER, "-1")
        reader(**options, processes=NotedWorkers(RayOptions(workers=2)))(text, "x")
    assert len(passes.read_text()) in {len(text), len(text) + 1}
    assert arrays(tmp_path / "store") == arrays(tmp_path / "alone")
    assert set(arrays(tmp_path / "store")) == {"residual.0.npy", "residual.2.npy", "mlp.1.npy"}


def arrays(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*/*.npy")}


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
