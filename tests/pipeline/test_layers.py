"""Each layer is measured as in a run on that layer alone."""

from __future__ import annotations

from functools import partial
from unittest.mock import Mock

import lightning
import numpy as np
import pytest
import torch
from planting import KEY_SETS, LAYERS, NAMES, SENTENCES, planted
from scipy.stats import false_discovery_control

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.all_neurons import AllNeurons
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.controls.control_task import ControlTask
from keyneurons.pipeline.controls.majority import Majority
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.pipeline.evidence import ControlResult, Evidence
from keyneurons.pipeline.experiment import Result
from keyneurons.pipeline.layers import (
    LayerChecks,
    Layers,
    OneLayer,
    adjusted_over_layers,
    curve_metrics,
    each_layer,
    layer_metrics,
)
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, KeyNeuron, NeuronSets
from keyneurons.report.run.layers import layer_facts

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
TRAINING = Training(
    ProbeSettings(partial(torch.optim.Adam, lr=0.05), 256, 5, 1.0),
    partial(lightning.Trainer, accelerator="cpu", max_epochs=30, **QUIET),
    0,
)
CONTROLS = {"random": RandomSets(20), "all_neurons": AllNeurons(), "task": ControlTask(), "majority": Majority()}
PROBING = Probing(TRAINING, CONTROLS, 0, 200, ResultStore(None))
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
        assert one.metrics["control/random/p_value"] <= 2 * 2 / 21  # a random set may contain the planted neurons


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
    adjusted = false_discovery_control([one.metrics["control/random/p_value"] for one in measured])
    assert list(curves["layer/word/control/random/p_adjusted"].values()) == pytest.approx(adjusted)
    assert found["layers/word/share_better_than_random"] == np.mean(adjusted <= 0.05)
    assert "layers/word/share_better_than_task" in found
    advantage = np.mean([one.metrics["probe/advantage"] for one in measured])
    assert found["layers/word/mean_advantage"] == pytest.approx(advantage)
    selectivity = np.mean([one.metrics["probe/selectivity"] for one in measured])
    assert found["layers/word/mean_selectivity"] == pytest.approx(selectivity)
    assert curve_metrics("word", ()) == {}


def layer_of(number: int, p_value: float, sets: int) -> OneLayer:
    """A layer with one control that has the given p-value."""
    correct = np.ones((sets, 4), dtype=bool)
    values = {"control/random/p_value": p_value, "probe/test_accuracy": 0.9, "control/random/test_accuracy": 0.8}
    control = ControlResult("matched random sets", "probe/advantage", "random", correct)
    return OneLayer(number, Mock(spec=Evidence, controls={"random": control}, metrics=lambda: values), 3, None)


def test_the_number_of_better_layers_is_corrected_for_the_layers_tested():
    layers = tuple(layer_of(i, p, 99) for i, p in enumerate([0.01, 0.03, 0.04, 0.5]))
    assert adjusted_over_layers(layers) == {"random": pytest.approx({0: 0.04, 1: 0.16 / 3, 2: 0.16 / 3, 3: 0.5})}
    result = Mock(
        spec=Result,
        metrics={"layers/word/best_test_accuracy": 0.9, "layers/word/best_layer": 0.0},
        layers=Layers({"word": layers, "prediction": ()}),
    )
    [fact] = layer_facts(result)
    assert "better than matched random sets in 1 of 4 layers, by 0.100 on average" in fact
    assert "(4 layers tested, p after Benjamini-Hochberg)" in fact
    assert "cannot be below" not in fact
    result.layers = Layers({"word": tuple(layer_of(i, 0.05, 19) for i in range(3))})
    [fact] = layer_facts(result)
    assert "in 3 of 3 layers, by 0.100 on average, where p cannot be below 0.050 in a layer" in fact
