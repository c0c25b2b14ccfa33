"""Candidates of another method, their measured effects, and key neurons by these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import save_tiny_model, sentences

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.attribution.ablation import AblationEffect
from keyneurons.attribution.method import Attribution, GradientXActivation
from keyneurons.attribution.reader import AttributionReader
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.ablated_words import ablated_words, candidates
from keyneurons.pipeline.activations import read_activations
from keyneurons.pipeline.key_neurons import Selection, find_key_neurons
from keyneurons.pipeline.scored_words import ScoredWords, attributed_words
from keyneurons.records import SPLITS, LabelledWords, Labels, Scores, Treebank
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.rules import Rule

SAMPLE = {"words_per_tag": 6, "min_context": 2}
NAMES, LAYERS, WIDTH = ("A", "B", "C"), (1, 3), 48


@pytest.fixture(scope="module")
def treebank() -> Treebank:
    every = tuple(sentences())
    return Treebank("toy", {"train": every, "dev": every[:3], "test": every[3:]})


@pytest.fixture(scope="module")
def labels(treebank) -> Labels:
    rng, words = np.random.default_rng(0), {}
    for split in SPLITS:
        rows = np.arange(treebank.n_words(split))
        words[split] = LabelledWords(rows, rng.integers(0, 3, len(rows)), tuple(f"w{row}" for row in rows))
    return Labels("upos", NAMES, words)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("ablated")
    save_tiny_model(folder / "tiny")
    model = LanguageModel(LocalModel(folder / "tiny", folder).fetch(), device="cpu")
    store = ActivationStore(folder / "store")
    activations = ActivationReader(model, "mlp", LAYERS, read_at="prediction", batch_tokens=40, store=store)

    def of(method: Attribution) -> AttributionReader:
        return AttributionReader(activations, method, 2**26)

    return of


def ablated(read, labels, treebank, by) -> ScoredWords:
    method = AblationEffect(candidates=3, by=by, **SAMPLE)
    reader = read(method)
    activations = read_activations(reader.read, treebank, store=True)
    return ablated_words(reader, method, labels, treebank, activations, seed=0)


def effects_of(words: ScoredWords) -> np.ndarray:
    return np.concatenate([np.array(array) for array in words.values.arrays["train"].values()], axis=1)


def test_the_union_of_the_candidates_of_all_tags_is_measured(read, labels, treebank):
    words = ablated(read, labels, treebank, GradientXActivation())
    options = {"rank_by": "mean", "target": "log_probability"}
    first = attributed_words(read(GradientXActivation(**options, **SAMPLE)), labels, treebank, store=True, seed=0)
    assert first.labels.splits["train"].forms == words.labels.splits["train"].forms
    attributions, effects = effects_of(first), effects_of(words)
    expected = set()
    for tag in range(3):
        means = np.abs(attributions[first.tags == tag].mean(axis=0)).reshape(2, WIDTH)
        expected |= {i * WIDTH + n for i in range(2) for n in np.argsort(-means[i], kind="stable")[:3].tolist()}
    assert set(np.flatnonzero(effects.any(axis=0)).tolist()) == expected
    assert np.corrcoef(attributions[:, sorted(expected)].ravel(), effects[:, sorted(expected)].ravel())[0, 1] > 0.95


def test_sets_hold_candidates_only_ranked_by_the_mean_effect(read, labels, treebank):
    words = ablated(read, labels, treebank, Correlation())
    effects = effects_of(words)
    method = AblationEffect(candidates=3, by=Correlation())
    selection = Selection(method.scorer, Rule(40, "layer"), 1, "like_length", 2**24, 0)
    found = find_key_neurons(selection, words)
    measured = set(np.flatnonzero(effects.any(axis=0)).tolist())
    for tag, name in enumerate(NAMES):
        means = effects[words.tags == tag].mean(axis=0)
        np.testing.assert_allclose(found.scores.values[tag].numpy(), means, rtol=1e-6, atol=1e-12)
        assert set(found.sets.columns(name)) == measured
    assert len(measured) <= 3 * 3 * 2


def test_candidates_are_counted_by_layer_and_ties_go_to_the_lower_neuron():
    values = torch.tensor([[0.0, -5, 1, 0, 2, 2], [3.0, 0, 0, 0, 0, 0]], dtype=torch.float64)
    scores = Scores("mlp", (4, 9), 3, values)
    assert candidates(scores, 1) == {4: (0, 1), 9: (0, 1)}
    with pytest.raises(ValueError, match=r"1\.\.3"):
        candidates(scores, 4)
