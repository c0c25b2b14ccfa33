"""Each layer is measured as in a run on that layer alone."""

from __future__ import annotations

from functools import partial

import lightning
import numpy as np
import pytest
import torch
from planting import KEY_SETS, LAYERS, NAMES, SENTENCES, planted

from keyneurons.memo import Memo
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.all_neurons import AllNeurons
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.controls.control_task import ControlTask
from keyneurons.pipeline.controls.majority import Majority
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.pipeline.layers import LayerChecks, OneLayer, curve_metrics, each_layer, layer_metrics
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, KeyNeuron, NeuronSets

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
TRAINING = Training(
    ProbeSettings(partial(torch.optim.Adam, lr=0.05), 256, 5, 1.0),
    partial(lightning.Trainer, accelerator="cpu", max_epochs=30, **QUIET),
    0,
)
CONTROLS = {"random": RandomSets(20), "all_neurons": AllNeurons(), "task": ControlTask(), "majority": Majority()}
PROBING = Probing(TRAINING, CONTROLS, 0, 200, Memo())
ALL = LayerChecks(("word",), concepts=True, concept_words=60, concept_draws=19)


@pytest.fixture(scope="module")
def measured() -> tuple[OneLayer, ...]:
    activations, labels = planted(strength=3)
    return each_layer(activations, labels, KEY_SETS, SENTENCES, PROBING, ALL, 0)


def test_each_layer_is_what_a_run_on_it_alone_would_be(measured):
    activations, labels = planted(strength=3)
    assert [one.layer for one in measured] == [1, 4]
    for one in measured:
        alone = StoredActivations({split: {one.layer: activations.arrays[split][one.layer]} for split in SPLITS}, "mlp")
        own = NeuronSets(
            "mlp",
            (one.layer,),
            30,
            {tag: tuple(n for n in found if n.layer == one.layer) for tag, found in KEY_SETS.tags.items()},
        )
        expected = probe_key_neurons(PROBING, Case(labels, alone, own, SENTENCES, 0)).metrics()
        assert dict(one.metrics) == {**expected, "selection/union_size": float(len(own.union()))}
        assert one.metrics["control/random/p_value"] <= 2 / 21  # a random set may contain the planted neurons


def test_planted_tags_are_concepts_where_their_neuron_is(measured):
    upper = measured[1].concepts
    assert upper is not None
    for tag in ("NOUN", "VERB"):  # planted in layer 4
        assert upper.direction[tag].accuracy > 0.85
        assert upper.direction[tag].p_value == pytest.approx(0.05)
    assert upper.direction["ADJ"].accuracy < upper.direction["NOUN"].accuracy  # planted in layer 1
    assert upper.cosine[1, 2] < 0.2


def test_layers_without_key_neurons_are_passed_over():
    activations, labels = planted(strength=3)
    only = NeuronSets("mlp", LAYERS, 30, {tag: (KeyNeuron(4, i, 1.0),) for i, tag in enumerate(NAMES)})
    checks = LayerChecks(("word",))
    found = each_layer(activations, labels, only, SENTENCES, PROBING, checks, 0)
    assert [(one.layer, one.concepts) for one in found] == [(4, None)]


def test_curves_have_a_value_for_every_layer_and_name_the_best(measured):
    curves = layer_metrics("word", measured)
    assert list(curves["layer/word/probe/test_accuracy"]) == [1, 4]
    assert list(curves["layer/word/cav/accuracy/NOUN"]) == [1, 4]
    assert curves["layer/word/car/p_value/ADJ"][1] <= 0.1
    found = curve_metrics("word", measured)
    assert found["layers/word/best_layer"] == 4  # two of three tags are planted there
    assert found["layers/word/best_test_accuracy"] == measured[1].metrics["probe/test_accuracy"]
    better = [one.metrics["control/random/p_value"] <= 0.05 for one in measured]
    assert found["layers/word/share_better_than_random"] == np.mean(better)
    advantage = np.mean([one.metrics["probe/advantage"] for one in measured])
    assert found["layers/word/mean_advantage"] == pytest.approx(advantage)
    selectivity = np.mean([one.metrics["probe/selectivity"] for one in measured])
    assert found["layers/word/mean_selectivity"] == pytest.approx(selectivity)
    assert curve_metrics("word", ()) == {}
