"""Scoring by attributions instead of activations, stored or streamed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import save_tiny_model, sentences
from planting import SENTENCES

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.attribution.method import Attribution, GradientXActivation, IntegratedGradients
from keyneurons.attribution.reader import AttributionReader
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.key_neurons import Selection, find_key_neurons
from keyneurons.pipeline.scored_words import ScoredWords, attributed_words
from keyneurons.records import SPLITS, LabelledWords, Labels, Treebank
from keyneurons.selection.methods.frequency import Frequency
from keyneurons.selection.rules import Rule

FAST = {"words_per_tag": 8, "min_context": 2, "share": 0.1}
INTEGRALS = IntegratedGradients(**FAST, steps=6)
METHODS = [
    INTEGRALS,
    IntegratedGradients(**FAST, steps=3, path="joint", share_scope="model", residual_warning=9.0),
    IntegratedGradients(**FAST, steps=3, rank_by="mean", baseline="mean", target="log_probability"),
    GradientXActivation(**FAST, signed=False, test="fisher", share_scope="model"),
]
NAMES = ("A", "B", "C")


@pytest.fixture(scope="module")
def treebank() -> Treebank:
    every = tuple(sentences())
    return Treebank("toy", {"train": every, "dev": every[:3], "test": every[3:]})


@pytest.fixture(scope="module")
def labels(treebank) -> Labels:
    """Three tags; every fourth word is unlabelled."""
    rng, words = np.random.default_rng(0), {}
    for split in SPLITS:
        rows = np.flatnonzero(np.arange(treebank.n_words(split)) % 4)
        words[split] = LabelledWords(rows, rng.integers(0, 3, len(rows)), tuple(f"w{row}" for row in rows))
    return Labels("upos", NAMES, words)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("attributed")
    save_tiny_model(folder / "tiny")

    def of(method: Attribution) -> AttributionReader:
        model = LanguageModel(LocalModel(folder / "tiny", folder).fetch(), device="cpu")
        activations = ActivationReader(
            model, "mlp", (1, 3), read_at="prediction", batch_tokens=40, store=ActivationStore(folder / "store")
        )
        return AttributionReader(activations, method, 2**26)

    return of


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_what_is_kept_and_what_is_not_gives_the_same_scores(read, treebank, labels, method):
    kept = attributed_words(read(method), labels, treebank, store=True, seed=0)
    passing = attributed_words(read(method), labels, treebank, store=False, seed=0)
    assert isinstance(kept.values, StoredActivations)
    expected, found = (
        method.scorer.scores(words.values.source(words.labels, "layer", 2**24), words.tags) for words in (kept, passing)
    )
    torch.testing.assert_close(found.values, expected.values, rtol=1e-5, atol=1e-9)
    assert (found.site, found.layers, found.neurons_per_layer) == ("mlp", (1, 3), 48)
    assert passing.residuals == pytest.approx(kept.residuals, rel=0.2, abs=1e-4)
    assert (found.p_values is None) == (method.rank_by == "mean")
    if found.p_values is not None:
        torch.testing.assert_close(found.p_values, expected.p_values)
        assert found.effects is not None
        torch.testing.assert_close(found.p_robust, expected.p_robust)
        assert (found.p_robust >= found.p_values).all()


def test_the_words_drawn_are_balanced_and_keep_their_tags_and_sentences(read, treebank, labels):
    found = attributed_words(read(INTEGRALS), labels, treebank, store=True, seed=0)
    drawn, words = found.labels.splits["train"], labels.splits["train"]
    assert np.bincount(drawn.tags).tolist() == [8, 8, 8]
    tag_of = dict(zip(words.forms, words.tags, strict=True))  # every form occurs once
    assert [tag_of[form] for form in drawn.forms] == drawn.tags.tolist()
    first = np.cumsum([0, *(len(s.words) for s in treebank.splits["train"])])
    rows = np.array([int(form[1:]) for form in drawn.forms])
    assert (np.searchsorted(first, rows, side="right") - 1).tolist() == found.sentences.tolist()
    other = attributed_words(read(INTEGRALS), labels, treebank, store=True, seed=1)
    assert other.labels.splits["train"].forms != drawn.forms


def test_residuals_say_where_attributions_are_not_complete(read, treebank, labels, caplog):
    fine = attributed_words(read(replace(INTEGRALS, steps=20)), labels, treebank, store=True, seed=0)
    assert set(fine.residuals) == {"layer_1", "layer_3"}
    assert max(fine.residuals.values()) < 1e-3
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        coarse = attributed_words(read(replace(INTEGRALS, steps=2, rule="left")), labels, treebank, store=True, seed=0)
    assert min(coarse.residuals.values()) > 0.01
    assert "completeness error of attributions exceeds 0.01: layer_1" in caplog.text
    joint = attributed_words(read(METHODS[1]), labels, treebank, store=True, seed=0)
    assert set(joint.residuals) == {"joint"}
    assert not attributed_words(read(METHODS[3]), labels, treebank, store=True, seed=0).residuals


def test_a_tag_without_words_to_attribute_is_named(read, treebank, labels):
    with pytest.raises(ValueError, match=r"tag [ABC] needs at least 2 attributable words, got [01]"):
        attributed_words(read(replace(INTEGRALS, min_context=29)), labels, treebank, store=True, seed=0)


@pytest.mark.parametrize("test", ["chi_squared", "fisher"])
def test_a_planted_neuron_passes_the_filter_and_with_shuffled_tags_none_does(test):
    """Noise for 200 words with one neuron that adds to one tag and one that adds to all words."""
    rng = np.random.default_rng(0)
    tags = np.repeat(np.arange(4), 50)
    values = rng.normal(size=(200, 400)).astype(np.float32)
    values[:, 7] += 9
    values[tags == 2, 5] += 9
    names = ("ADJ", "ADV", "NOUN", "VERB")
    selection = Selection(Frequency(0.05, test_by=test), Rule(10, "layer", threshold="fdr"), 1, "like_length", 2**24, 0)

    def found(of_words: np.ndarray) -> dict[str, list[int]]:
        labels = Labels("upos", names, {"train": LabelledWords(np.arange(200), of_words, ("word",) * 200)})
        words = ScoredWords(StoredActivations({"train": {3: values}}, "mlp"), labels, SENTENCES[:200])
        return {tag: [n.neuron for n in own] for tag, own in find_key_neurons(selection, words).sets.tags.items()}

    assert found(tags)["NOUN"][0] == 5
    assert not any(7 in own for own in found(tags).values())  # it adds to all words alike
    assert all(own in ([], [5]) for own in found(tags).values())
    shuffled = [found(rng.permutation(tags)) for _ in range(40)]
    assert sum(any(own.values()) for own in shuffled) <= 5  # 2 expected; more than 5 in one of 70 repeats
