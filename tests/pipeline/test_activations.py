"""Streamed activations equal stored ones and write nothing to the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import save_tiny_model, sentences

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.activations import StoredActivations, StreamedActivations
from keyneurons.records import SPLITS, LabelledWords, Labels, Treebank
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.lape import LAPE
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.views import POSITIVE, VALUE, TopShare

COLUMNS = np.array([0, 5, 47, 48, 60, 95])


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
        words[split] = LabelledWords(rows, rng.integers(0, 3, len(rows)), ("word",) * len(rows))
    return Labels("upos", ("A", "B", "C"), words)


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> ActivationReader:
    folder: Path = tmp_path_factory.mktemp("streamed")
    model = LanguageModel(LocalModel(save_tiny_model(folder / "tiny"), folder).fetch(), device="cpu")
    return ActivationReader(model, "mlp", (1, 3), batch_tokens=40, store=ActivationStore(folder / "store"))


@pytest.mark.parametrize("scorer", [Correlation(), WelchT(magnitude=True), LAPE(), Bottom(Correlation())], ids=repr)
def test_scores_are_those_of_stored_activations(reader, treebank, labels, scorer):
    streamed, stored = (
        scorer.scores(each.source(labels, "layer", 2**24), labels.splits["train"].tags)
        for each in (StreamedActivations(reader, treebank), StoredActivations.of(reader, treebank))
    )
    assert (streamed.site, streamed.layers, streamed.neurons_per_layer) == ("mlp", (1, 3), 48)
    torch.testing.assert_close(streamed.values, stored.values, rtol=1e-9, atol=1e-12)
    if stored.p_values is not None:
        torch.testing.assert_close(streamed.p_values, stored.p_values, rtol=1e-7, atol=0)


def test_columns_are_those_of_stored_activations(reader, treebank, labels):
    streamed = StreamedActivations(reader, treebank).columns(labels, COLUMNS)
    stored = StoredActivations.of(reader, treebank).columns(labels, COLUMNS)
    for split in SPLITS:
        assert stored[split].shape == (len(labels.splits[split].rows), len(COLUMNS))
        assert torch.equal(streamed[split], stored[split])


def test_nothing_is_kept(reader, treebank, labels, tmp_path):
    own = ActivationReader(reader.model, "mlp", (1, 3), store=ActivationStore(tmp_path / "own"))
    activations = StreamedActivations(own, treebank)
    Correlation().scores(activations.source(labels, "layer", 2**24), labels.splits["train"].tags)
    activations.columns(labels, COLUMNS)
    assert not (tmp_path / "own").exists()


def test_several_taggings_and_views_take_one_pass(reader, treebank, labels):
    tags = labels.splits["train"].tags
    taggings, views = np.stack([tags, tags[::-1]]), [VALUE, POSITIVE, TopShare(0.1, of_all_layers=True)]
    streamed, stored = (
        each.source(labels, "layer", 2**24).moments(taggings, views)
        for each in (StreamedActivations(reader, treebank), StoredActivations.of(reader, treebank))
    )
    assert list(streamed) == views
    for view in views:
        for found, expected in zip(streamed[view], stored[view], strict=True):
            assert torch.equal(found.counts, expected.counts)
            torch.testing.assert_close(found.sums, expected.sums, rtol=1e-9, atol=1e-9)


def test_what_needs_more_than_sums_is_refused(reader, treebank, labels):
    source, tags = StreamedActivations(reader, treebank).source(labels, "layer", 2**24), labels.splits["train"].tags
    with pytest.raises(ValueError, match="needs stored activations: activations.store=true"):
        scoring_of(MutualInformation()).scores(source, tags)
    with pytest.raises(ValueError, match="resampling words needs stored activations"):
        source.of_words(np.arange(3), 2)
