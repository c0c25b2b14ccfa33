"""Given sets: cut to the strongest neurons, and matched with the tags of a text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planting import LAYERS, NAMES, SENTENCES, planted

from keyneurons.lesion.modes import Means
from keyneurons.pipeline.given_sets import GivenSets, Origin
from keyneurons.pipeline.key_neurons import find_key_neurons
from keyneurons.pipeline.lesions.control_sets import CONTROL_FAMILIES, NeuronStatistics
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import KeyNeuron, NeuronSets
from keyneurons.selection.rules import Rule

ORIGIN = Origin("somewhere", "r1", "correlation", "starter", "upos", "f00", "b4r")
TAGS = {
    "ADJ": (KeyNeuron(4, 1, 0.2), KeyNeuron(2, 7, -0.9), KeyNeuron(4, 0, -0.5), KeyNeuron(2, 3, 0.5)),
    "NOUN": (KeyNeuron(2, 0, 1.0),),
    "X": (KeyNeuron(2, 9, 1.0),),
}
SETS = NeuronSets("mlp", (2, 4), 10, TAGS)


def given(top_k: int, scope: str = "layer") -> GivenSets:
    return GivenSets(SETS, Rule(top_k, scope), ORIGIN)


def neurons(sets: NeuronSets, tag: str) -> list[tuple[int, int]]:
    return [(n.layer, n.neuron) for n in sets.tags[tag]]


@pytest.mark.parametrize(
    ("top_k", "scope", "expected"),
    [
        (1, "layer", [(2, 7), (4, 0)]),
        (2, "layer", [(2, 7), (4, 0), (2, 3), (4, 1)]),
        (9, "layer", [(2, 7), (4, 0), (2, 3), (4, 1)]),
        (1, "model", [(2, 7)]),
        (2, "model", [(2, 7), (4, 0)]),  # of two equal scores the first in the file
        (9, "model", [(2, 7), (4, 0), (2, 3), (4, 1)]),
    ],
    ids=str,
)
def test_a_set_is_cut_to_its_strongest_neurons(top_k: int, scope: str, expected: list[tuple[int, int]]) -> None:
    assert neurons(given(top_k, scope).of_tags(["ADJ"]), "ADJ") == expected


def test_tags_are_those_of_the_text() -> None:
    whole = given(9)
    sets = whole.of_tags(["NOUN", "ADJ", "VERB"])
    assert list(sets) == ["ADJ", "NOUN", "VERB"]
    assert sets.tags["VERB"] == ()
    assert whole.dropped(["NOUN", "ADJ", "VERB"]) == ("X",)
    assert whole.cut(["ADJ", "NOUN", "VERB"]) == ()
    assert given(1).cut(["ADJ", "NOUN", "VERB"]) == ("ADJ",)


def test_sets_without_a_common_tag_are_refused() -> None:
    with pytest.raises(ValueError, match=r"somewhere has key neurons of upos ADJ, NOUN, X; the text has VERB"):
        given(1).of_tags(["VERB"])


def test_given_sets_are_the_key_neurons_and_have_no_scores() -> None:
    activations, labels = planted(strength=1)
    tags = {NAMES[0]: (KeyNeuron(LAYERS[1], 3, 0.5),)}
    sets = NeuronSets("mlp", LAYERS, activations.source(labels, "layer", 2**20).width, tags)
    found = find_key_neurons(GivenSets(sets, Rule(1, "layer"), ORIGIN), ScoredWords(activations, labels, SENTENCES))
    assert found.scores is None
    assert {tag: neurons(found.sets, tag) for tag in found.sets} == {
        name: [(LAYERS[1], 3)] if name == NAMES[0] else [] for name in NAMES
    }
    assert found.metrics()["selection/union_size"] == 1


def test_the_lowest_ranked_need_scores() -> None:
    means = Means((2,), torch.zeros(4), torch.zeros(1, 4))
    statistics = NeuronStatistics(means, np.zeros(4), np.zeros(4), 4)
    with pytest.raises(ValueError, match="the family lowest needs the scores of all neurons"):
        CONTROL_FAMILIES["lowest"].draw([0], statistics, None, 2, 0)
