"""The control on all neurons reads every layer and does not depend on the key neurons."""

from __future__ import annotations

from planting import LAYERS, WIDTH, case

from keyneurons.pipeline.controls.all_neurons import AllNeurons


def test_one_probe_reads_every_neuron() -> None:
    trial = AllNeurons()(case())
    assert trial.columns is not None
    assert trial.columns.tolist() == [list(range(len(LAYERS) * WIDTH))]
    assert AllNeurons().reads(3, 60) == 60
