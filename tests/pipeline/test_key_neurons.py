"""Selection of key neurons with thresholds and the permutation null."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planting import LAYERS, NAMES, PLANTED, SENTENCES, WIDTH, planted

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.key_neurons import KeyNeurons, Selection, find_key_neurons, permutation_null
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import KeyNeuron, NeuronSets
from keyneurons.selection.methods.average_precision import AveragePrecision
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.l1_probe import L1Probe
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.rules import Rule

FEW = Selection(Correlation(), Rule(5, "model", threshold="permutation"), 99, "like_length", 2**24, 0)


def places(sets: NeuronSets) -> dict[str, set[tuple[int, int]]]:
    return {tag: {(n.layer, n.neuron) for n in sets.tags[tag]} for tag in sets}


@pytest.mark.parametrize("permute", ["words", "within_sentence", "like_length"])
@pytest.mark.parametrize("scorer", [Correlation(), WelchT(), AveragePrecision()], ids=repr)
def test_the_planted_neuron_of_each_tag_stands_against_permutations(scorer, permute):
    selection = replace(FEW, scorer=scorer, permute=permute)
    activations, labels = planted(strength=3)
    sets = find_key_neurons(selection, ScoredWords(activations, labels, SENTENCES)).sets
    found = places(sets)
    assert all(PLANTED[tag] in found[tag] for tag in NAMES)
    # a neuron planted for one tag also marks the others, negatively; no other neuron does
    assert set().union(*found.values()) == set(PLANTED.values())
    assert all(n.p_adjusted == pytest.approx(0.01) for tag in sets for n in sets.tags[tag])


@pytest.mark.parametrize("threshold", ["fdr", "permutation"])
def test_without_anything_planted_no_neuron_stands(threshold):
    selection = replace(FEW, rule=replace(FEW.rule, threshold=threshold))
    activations, labels = planted(strength=0)
    sets = find_key_neurons(selection, ScoredWords(activations, labels, SENTENCES)).sets
    assert places(sets) == dict.fromkeys(NAMES, set())
    every = replace(FEW, rule=Rule(5, "model"))
    unfiltered = find_key_neurons(every, ScoredWords(activations, labels, SENTENCES)).sets
    assert all(len(unfiltered.tags[tag]) == 5 for tag in NAMES)


def test_the_null_is_that_of_a_direct_loop_and_its_start_does_not_depend_on_its_length():
    activations, labels = planted(strength=1)
    tags, driver = labels.splits["train"].tags, activations.source(labels, "model", 2**24)
    null = permutation_null(FEW, driver, tags, SENTENCES)
    for i in (0, 1, 98):
        shuffled = permuted_tags(tags, SENTENCES, "like_length", np.random.default_rng([0, i]))
        by_hand = driver.scores(Correlation(), shuffled).values.abs().amax(dim=1)
        torch.testing.assert_close(null[i], by_hand)
    few = permutation_null(replace(FEW, permutations=3), driver, tags, SENTENCES)
    torch.testing.assert_close(few, null[:3])
    assert not torch.equal(permutation_null(replace(FEW, seed=1, permutations=3), driver, tags, SENTENCES), few)


def test_a_tag_that_is_refused_is_named():
    activations, labels = planted(strength=3)
    with pytest.raises(ValueError, match=r"tag (ADJ|NOUN|VERB) has \d+ non-zero weights at C=1e-05"):
        find_key_neurons(replace(FEW, scorer=L1Probe(3, C=1e-5)), ScoredWords(activations, labels, SENTENCES))


def test_activations_that_say_nothing_are_refused():
    activations, labels = planted(strength=0)
    flat = {
        split: {layer: np.ones_like(array) for layer, array in layers.items()}
        for split, layers in activations.arrays.items()
    }
    silent = StoredActivations(flat, "mlp")
    with pytest.raises(ValueError, match="every score of every tag is 0"):
        find_key_neurons(replace(FEW, rule=Rule(5, "layer")), ScoredWords(silent, labels, SENTENCES))
    sets = find_key_neurons(
        replace(FEW, rule=Rule(5, "layer", threshold="fdr")), ScoredWords(silent, labels, SENTENCES)
    ).sets
    assert places(sets) == dict.fromkeys(NAMES, set())


def test_an_activation_that_is_not_finite_names_its_neuron():
    activations, labels = planted(strength=0)
    activations.arrays["train"][LAYERS[1]][17, 3] = np.nan
    for scorer in (Correlation(), AveragePrecision(), L1Probe(3)):
        with pytest.raises(ValueError, match=r"neuron 3 of layer 4 \(site mlp\) has an activation that is not finite"):
            find_key_neurons(replace(FEW, scorer=scorer), ScoredWords(activations, labels, SENTENCES))


@pytest.mark.parametrize(
    ("sets", "one"),
    [
        ({"A": (1, 2), "B": (2, 1), "C": (1, 2)}, 1.0),
        ({"A": (1, 2), "B": (2, 1), "C": (1, 3)}, 0.0),
        ({"A": (1, 2), "B": (1, 2)}, 0.0),
        ({"A": (), "B": (), "C": ()}, 0.0),
    ],
    ids=["same-neurons", "one-differs", "two-tags", "empty"],
)
def test_one_ranking_for_all_tags_is_marked(sets: dict[str, tuple[int, ...]], one: float) -> None:
    """Scores may differ; the two tags of a binary feature have equal sets with any method."""
    activations, labels = planted(strength=3)
    neurons = {tag: tuple(KeyNeuron(LAYERS[0], n, 1.0 / (1 + n)) for n in own) for tag, own in sets.items()}
    scores = activations.source(labels, "model", 2**24).scores(Correlation(), labels.splits["train"].tags)
    words = ScoredWords(activations, labels, SENTENCES)
    found = KeyNeurons(words, scores, NeuronSets("mlp", LAYERS, WIDTH, neurons))
    assert found.metrics()["selection/one_ranking"] == one
