"""A sweep with moments in the cache reads the text twice, and gives the results of stored ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from user import QUICK, Command, Place, output_folders

from keyneurons.activations.reader import ActivationReader

SWEPT = ["selection=correlation,lape", "site=mlp,residual", "top_k=5", "layer=all"]
RUN = [
    *(own for own in QUICK if not own.startswith(("control=", "reliability.halves="))),
    *("control=[random,top_variance,all_neurons,reselected_task]", "reliability.halves=1"),
]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """The split and sites of every pass."""
    made: list[tuple[str, tuple[str, ...]]] = []
    stream = ActivationReader.stream

    def counting(self, sentences, name, places=None):
        made.append((name, tuple(sorted(places or [self.site]))))
        return stream(self, sentences, name, places)

    monkeypatch.setattr(ActivationReader, "stream", counting)
    return made


def test_a_sweep_takes_two_passes(call: Command, place: Place, tmp_path: Path, passes) -> None:
    own = [f"cache={tmp_path / 'own'}", "activations.store=moments"]
    done = call("-m", *place.small, *RUN, *SWEPT, *own)
    assert done.status == 0, done.err
    sites = ("mlp", "residual")
    assert passes == [("train", sites), ("train", sites), ("dev", sites), ("test", sites)]
    passes.clear()
    stored = call(*place.small, *RUN, "selection=lape", "site=residual", "top_k=5", "layer=all")
    assert stored.status == 0, stored.err
    assert not passes
    of_job = next(path for path in tmp_path.glob("outputs/*/*-sweep/*/config.yaml") if _is(path, "residual", 5, "LAPE"))
    here, there = (
        json.loads((folder / "metrics.json").read_text("utf-8"))
        for folder in (of_job.parent, output_folders(tmp_path)[-1])
    )
    assert here == pytest.approx({name: there[name] for name in here})
    assert {name.split("/")[1] for name in there.keys() - here} == {"all_neurons"}


def _is(path: Path, site: str, top_k: int, method: str) -> bool:
    text = path.read_text("utf-8")
    return f"site: {site}" in text and f"top_k: {top_k}\n" in text and f".{method}" in text
