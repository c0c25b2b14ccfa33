"""Scoring from disk in blocks equals scoring at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch

from keyneurons.selection.correlation import Correlation
from keyneurons.selection.driver import BYTES_PER_VALUE, score_layers
from keyneurons.selection.l1_probe import L1Probe
from keyneurons.selection.mutual_information import MutualInformation

WORDS, WIDTH, LAYERS = 700, 97, (2, 5, 9)


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    for layer in LAYERS:
        np.save(tmp_path / f"{layer}.npy", rng.normal(3, 1, (WORDS, WIDTH)).astype(np.float16))
    return {layer: np.load(tmp_path / f"{layer}.npy", mmap_mode="r") for layer in LAYERS}


ROWS = np.flatnonzero(np.arange(WORDS) % 7 != 0)
TAGS = np.random.default_rng(1).integers(0, 4, len(ROWS))


@dataclass
class Recorder:
    """A scorer that needs its neurons side by side, and remembers what it was given."""

    per_neuron: ClassVar[bool] = False
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, values, tags, n_tags):
        self.seen.append(tuple(values.shape))
        return values[:n_tags].double()


@pytest.mark.parametrize("scorer", [Correlation(), MutualInformation()], ids=repr)
@pytest.mark.parametrize("columns", [2, 5, 16, 31, 96])
def test_blocks_change_nothing(arrays, scorer, columns):
    whole = score_layers(scorer, arrays, ROWS, TAGS, 4, site="mlp", scope="layer")
    budget = columns * BYTES_PER_VALUE * len(ROWS)
    blocks = score_layers(scorer, arrays, ROWS, TAGS, 4, site="mlp", scope="layer", budget_bytes=budget)
    assert torch.equal(whole.values, blocks.values)
    assert torch.equal(whole.p_values, blocks.p_values)


def test_layers_stand_side_by_side_and_only_the_rows_count(arrays):
    scores = score_layers(Correlation(), arrays, ROWS, TAGS, 4, site="mlp", scope="model")
    assert (scores.site, scores.layers, scores.neurons_per_layer) == ("mlp", LAYERS, WIDTH)
    for i, layer in enumerate(LAYERS):
        oracle = np.corrcoef(arrays[layer][ROWS].astype(np.float64).T, TAGS == 2)[-1, :-1]
        np.testing.assert_allclose(scores.values[2, i * WIDTH : (i + 1) * WIDTH], oracle, atol=1e-12)


def test_joint_scorers_see_what_the_scope_says(arrays):
    by_layer, together = Recorder(), Recorder()
    one = score_layers(by_layer, arrays, ROWS, TAGS, 4, site="mlp", scope="layer", budget_bytes=1)
    all_ = score_layers(together, arrays, ROWS, TAGS, 4, site="mlp", scope="model", budget_bytes=1)
    assert by_layer.seen == [(len(ROWS), WIDTH)] * 3
    assert together.seen == [(len(ROWS), 3 * WIDTH)]
    assert torch.equal(one.values, all_.values)
    assert one.p_values is None


@pytest.mark.parametrize("scope", ["layer", "model"])
@pytest.mark.parametrize("scorer", [Correlation(), L1Probe(n_nonzero=2)], ids=repr)
def test_non_finite_activation_names_layer_and_neuron(arrays, scorer, scope):
    broken = {layer: np.array(array) for layer, array in arrays.items()}
    broken[5][ROWS[3], 41] = np.inf
    budget = 10 * BYTES_PER_VALUE * len(ROWS)
    with pytest.raises(ValueError, match="got 1 values that are not in layer 5, neuron 41"):
        score_layers(scorer, broken, ROWS, TAGS, 4, site="mlp", scope=scope, budget_bytes=budget)


def test_non_finite_activation_of_an_unlabelled_word_is_no_matter(arrays):
    broken = {layer: np.array(array) for layer, array in arrays.items()}
    broken[5][0, 41] = np.nan
    assert score_layers(Correlation(), broken, ROWS, TAGS, 4, site="mlp", scope="layer").values.isfinite().all()


def test_budget_too_small_for_two_neurons(arrays):
    with pytest.raises(ValueError, match=f"at least {2 * BYTES_PER_VALUE * len(ROWS)} for 600 words, got 100"):
        score_layers(Correlation(), arrays, ROWS, TAGS, 4, site="mlp", scope="layer", budget_bytes=100)


def test_layers_of_one_shape(arrays):
    with pytest.raises(ValueError, match="layers must be given and have one shape"):
        score_layers(Correlation(), {}, ROWS, TAGS, 4, site="mlp", scope="layer")
    with pytest.raises(ValueError, match="one shape"):
        score_layers(Correlation(), {**arrays, 9: arrays[9][:, :5]}, ROWS, TAGS, 4, site="mlp", scope="layer")
