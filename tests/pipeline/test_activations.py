"""Moments and columns in the cache give the results of stored activations in two passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import save_tiny_model, sentences

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.analysis.resampling import split_halves
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.activations import StoredActivations, SummedActivations
from keyneurons.pipeline.controls.reselected_task import ReselectedTask
from keyneurons.pipeline.key_neurons import Reselection, Selection, find_key_neurons, select_from
from keyneurons.pipeline.scored_words import activated_words
from keyneurons.pipeline.taggings import planned_taggings
from keyneurons.records import SPLITS, LabelledWords, Labels, Treebank
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.lape import LAPE
from keyneurons.selection.methods.mean_difference import MeanDifference
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.probeless import Probeless
from keyneurons.selection.methods.random_scores import Random
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.rules import Rule
from keyneurons.selection.views import VALUE

METHODS = [
    *(Correlation(), MeanDifference(), FTest(), WelchT(), WelchT(magnitude=True), Probeless(), LAPE()),
    *(Bottom(Correlation()), Random()),
]
COLUMNS = np.array([0, 5, 31, 32, 40, 63])
LAYERS = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def treebank() -> Treebank:
    every = tuple(replace(s, id=f"{s.id}-{i}") for i in range(3) for s in sentences())
    return Treebank("toy", {"train": every, "dev": every[:3], "test": every[3:8]})


@pytest.fixture(scope="module")
def labels(treebank) -> Labels:
    """Three tags; every fourth word is unlabelled."""
    rng, words = np.random.default_rng(0), {}
    for split in SPLITS:
        rows = np.flatnonzero(np.arange(treebank.n_words(split)) % 4)
        forms = tuple(f"word{i % 17}" for i in range(len(rows)))
        words[split] = LabelledWords(rows, rng.integers(0, 3, len(rows)), forms)
    return Labels("upos", ("A", "B", "C"), words)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    folder: Path = tmp_path_factory.mktemp("summed")
    return LanguageModel(LocalModel(save_tiny_model(folder / "tiny"), folder).fetch(), device="cpu")


@pytest.fixture
def reader(model, tmp_path) -> Callable[..., ActivationReader]:
    def make(site: str = "mlp", layers: tuple[int, ...] = (1, 3), **options: Any) -> ActivationReader:
        store = ActivationStore(tmp_path / options.pop("cache", "cache"))
        return ActivationReader(model, site, layers, batch_tokens=200, store=store, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def passes(monkeypatch) -> list[str]:
    """The split that each pass reads."""
    made: list[str] = []
    stream = ActivationReader.stream

    def counting(self, sentences, name, places=None):
        made.append(name)
        return stream(self, sentences, name, places)

    monkeypatch.setattr(ActivationReader, "stream", counting)
    return made


def selection(scorer: Any, scope: str = "layer", **options: Any) -> Selection:
    return Selection(scorer, Rule(4, scope, **options), 100, "words", 2**24, 0)  # type: ignore[arg-type]


def both(read: ActivationReader, treebank: Treebank, planned: Any = ()) -> tuple[SummedActivations, StoredActivations]:
    stored = replace(read, store=ActivationStore(read.store.folder.parent / "stored"))
    return SummedActivations.of(read, treebank, planned), StoredActivations.of(stored, treebank)


@pytest.fixture(scope="module", params=[("mlp", LAYERS), ("residual", (1, 3))], ids=["mlp", "residual"])
def pair(request, model, treebank, tmp_path_factory) -> tuple[SummedActivations, StoredActivations]:
    folder: Path = tmp_path_factory.mktemp("pair")
    return both(
        ActivationReader(model, *request.param, batch_tokens=200, store=ActivationStore(folder / "cache")), treebank
    )


@pytest.mark.parametrize("scorer", METHODS, ids=repr)
@pytest.mark.parametrize("scope", ["layer", "model"])
def test_key_neurons_are_those_of_stored_activations(pair, treebank, labels, scorer, scope):
    one, other = (find_key_neurons(selection(scorer, scope), activated_words(each, labels, treebank)) for each in pair)
    torch.testing.assert_close(one.scores.values, other.scores.values, rtol=1e-6, atol=1e-7)
    assert {tag: one.sets.columns(tag) for tag in one.sets} == {tag: other.sets.columns(tag) for tag in other.sets}
    for table in ("p_values", "p_robust", "effects"):
        mine, theirs = getattr(one.scores, table), getattr(other.scores, table)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scorer", [Correlation(), WelchT(magnitude=True), LAPE()], ids=repr)
def test_halves_and_other_labels_are_those_of_stored_activations(reader, treebank, labels, scorer):
    summed, stored = both(reader(), treebank)
    train = labels.splits["train"]
    positions = [
        half for pair in split_halves(sentence_of_rows(treebank.splits["train"], train.rows), 2, 0) for half in pair
    ]
    of_control = ReselectedTask(2, 1).relabelled(labels, 0)
    found = []
    for each in (summed, stored):
        words = activated_words(each, labels, treebank)
        source = selection(scorer).source(words)
        halves = [select_from(selection(scorer), source, labels.names, train.tags, own) for own in positions]
        again = [Reselection(selection(scorer), words, each)(other, each) for other in of_control]
        found.append([sets.union() for sets in (*halves, *again)])
    assert found[0] == found[1]
    assert len({tuple(union) for union in found[0]}) > 3


def test_columns_are_those_of_stored_activations(reader, treebank, labels):
    summed, stored = (each.columns(labels, COLUMNS) for each in both(reader(), treebank))
    for split in SPLITS:
        assert stored[split].shape == (len(labels.splits[split].rows), len(COLUMNS))
        assert torch.equal(summed[split], stored[split])


def test_a_sweep_over_methods_and_sizes_takes_two_passes(reader, treebank, labels, passes):
    """Scores, p-values, halves and reselection for every method; then all columns at once."""
    control = ReselectedTask(3, 2)
    planned = planned_taggings(labels, treebank, [control], halves=3, unseen=None, seed=0)
    sentences_of = sentence_of_rows(treebank.splits["train"], labels.splits["train"].rows)
    for scorer in METHODS:
        activations = SummedActivations.of(reader(), treebank, planned)
        words, own = activated_words(activations, labels, treebank), selection(scorer, threshold="none")
        find_key_neurons(own, words)
        for first, second in split_halves(sentences_of, 3, 0):
            for half in (first, second):
                select_from(own, own.source(words), labels.names, words.tags, half)
        for other in control.relabelled(labels, 0):
            Reselection(own, words, activations)(other, activations)
        activations.source(labels, "layer", 2**24).moments(words.tags[None], [VALUE])
    assert passes == ["train"]
    activations.columns(labels, COLUMNS)
    assert passes == ["train", "train", "dev", "test"]
    activations.columns(labels, COLUMNS[1:4])
    SummedActivations.of(reader(), treebank).columns(labels, COLUMNS[::2])
    assert len(passes) == 4


def test_columns_that_are_missing_are_read_alone(reader, treebank, labels, passes):
    first, again = (SummedActivations.of(reader(), treebank) for _ in range(2))
    first.columns(labels, COLUMNS[:3])
    assert torch.equal(again.columns(labels, COLUMNS)["dev"][:, :3], first.columns(labels, COLUMNS[:3])["dev"])
    assert passes == ["train", "dev", "test"] * 2
    folder = first.single._entry("dev").folder
    shapes = [np.load(folder / f"columns-mlp.{i}.npy", mmap_mode="r").shape[1] for i in (0, 1)]
    assert shapes == [3, 3]
    assert not (folder / "columns-mlp.2.npy").exists()


def test_sites_and_layers_that_later_runs_need_share_the_pass(reader, treebank, labels, passes):
    places = {"mlp": LAYERS, "residual": (2,)}
    tags = labels.splits["train"].tags[None]
    SummedActivations.of(reader(prefetch=places), treebank).source(labels, "layer", 2**24).moments(tags, [VALUE])
    for site, layers in (("mlp", (0, 2)), ("residual", (2,))):
        source = SummedActivations.of(reader(site, layers), treebank).source(labels, "layer", 2**24)
        source.moments(tags, [VALUE])
    assert passes == ["train"]


def test_other_tags_words_or_settings_are_not_mistaken(reader, treebank, labels, passes):
    tags = labels.splits["train"].tags
    source = SummedActivations.of(reader(), treebank).source(labels, "layer", 2**24)
    known = source.moments(tags[None], [VALUE])[VALUE][0]
    by_mean, of_layer = (
        SummedActivations.of(reader(**other), treebank).source(labels, "layer", 2**24)
        for other in ({"pooling": "mean"}, {"layers": (0,)})
    )
    changes = [
        lambda: source.moments(tags[::-1][None].copy(), [VALUE]),
        lambda: source.of_words(np.arange(5, len(tags)), 3).moments(tags[None, 5:], [VALUE]),
        lambda: by_mean.moments(tags[None], [VALUE]),
        lambda: of_layer.moments(tags[None], [VALUE]),
    ]
    for i, change in enumerate(changes):
        assert not torch.equal(change()[VALUE][0].sums, known.sums)
        assert len(passes) == 2 + i
    assert torch.equal(source.moments(tags[None], [VALUE])[VALUE][0].sums, known.sums)
    assert len(passes) == 1 + len(changes)


def flip_last_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read()[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))


@pytest.mark.parametrize("what", ["moments", "columns", "names"])
def test_damaged_arrays_are_made_again(reader, treebank, labels, what, passes):
    def results() -> list[torch.Tensor]:
        activations, tags = SummedActivations.of(reader(), treebank), labels.splits["train"].tags[None]
        moments = activations.source(labels, "layer", 2**24).moments(tags, [VALUE])[VALUE][0]
        return [moments.sums, moments.squares, *activations.columns(labels, COLUMNS).values()]

    whole = results()
    for path in reader().store.folder.glob(f"*/{what}-*.npy"):
        flip_last_byte(path)
    assert all(torch.equal(one, other) for one, other in zip(results(), whole, strict=True))
    assert len(passes) == (5 if what == "moments" else 7)
    results()
    assert len(passes) == (5 if what == "moments" else 7)


def test_no_activations_of_all_neurons_are_stored(reader, treebank, labels):
    summed = SummedActivations.of(reader(), treebank)
    Correlation().scores(summed.source(labels, "layer", 2**24), labels.splits["train"].tags)
    summed.columns(labels, COLUMNS)
    arrays = [name for entry in reader().store.summaries()[0] for name in entry["arrays"]]
    assert {name.partition("-")[0] for name in arrays} == {"moments", "columns", "names"}
    assert summed.identity() != SummedActivations.of(reader(layers=(1,)), treebank).identity()


def test_what_needs_more_than_sums_is_refused(reader, treebank, labels):
    summed = SummedActivations.of(reader(), treebank)
    source, tags = summed.source(labels, "layer", 2**24), labels.splits["train"].tags
    with pytest.raises(ValueError, match="needs the values of words: sample_words=N, or activations.store=true"):
        scoring_of(MutualInformation()).scores(source, tags)
    with pytest.raises(ValueError, match="bootstrap resamples need stored activations"):
        source.of_words(np.array([0, 0, 1]), 2)
    with pytest.raises(ValueError, match="needs stored activations"):
        summed.stored()


@pytest.mark.parametrize("scorer", [MutualInformation(bins=4), Correlation()], ids=repr)
def test_a_sample_of_words_is_scored_alike(reader, treebank, labels, scorer, passes):
    summed, stored = both(reader(), treebank)
    found = []
    for each in (summed, stored):
        words = activated_words(each, labels, treebank, 60, seed=3)
        assert words.metrics() == {"selection/sampled_words": 60}
        of_control = ReselectedTask(1, 1).relabelled(labels, 0)[0]
        again = Reselection(selection(scorer), words, each)(of_control, each)
        found.append((find_key_neurons(selection(scorer), words), again.union()))
    assert torch.equal(found[0][0].scores.values, found[1][0].scores.values)
    assert found[0][1] == found[1][1]
    train = labels.splits["train"]
    rows = train.rows[words.position]
    by_hand = scorer(torch.from_numpy(stored.arrays["train"][3][rows]), torch.from_numpy(train.tags[words.position]), 3)
    torch.testing.assert_close(found[0][0].scores.values[:, 48:], by_hand, rtol=1e-6, atol=1e-7)
    activated_words(summed, labels, treebank, 60, seed=3)
    assert passes == ["train"]
