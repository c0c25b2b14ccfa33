"""Probes of one planted language on another: scikit-learn's, shifted means, chance, common tags."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import lightning
import numpy as np
import pytest
import torch
from planting import KEY_SETS, LAYERS, NAMES, planted
from sklearn.linear_model import LogisticRegression

from keyneurons.data.labels import of_tags
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.transfer import Cell, LanguageText, Reference, Transfer, measure_transfer
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, NeuronSets, Sentence, Treebank, Word

WORDS = tuple(Word("w", i, i + 1, "X", None) for i in range(10))


def treebank(name: str) -> Treebank:
    """Sixty sentences of ten words in each split, no two alike."""
    splits = {split: tuple(Sentence("s", f"{name} {split} {i}", WORDS) for i in range(60)) for split in SPLITS}
    return Treebank(name, splits)


def language(name: str, strength: float = 3.0, seed: int = 0, shift: float = 0.0) -> LanguageText:
    """A language whose neurons are higher and lower in turn by ``shift``, with words of its own."""
    activations, labels = planted(strength, seed)
    by_neuron = np.float16(shift) * (-1) ** np.arange(KEY_SETS.neurons_per_layer).astype(np.float16)
    arrays = {s: {layer: v + by_neuron for layer, v in own.items()} for s, own in activations.arrays.items()}
    splits = {s: replace(w, forms=tuple(f"{name}{f}" for f in w.forms)) for s, w in labels.splits.items()}
    return LanguageText(
        name, treebank(name), replace(labels, splits=splits), StoredActivations(arrays, "mlp"), KEY_SETS
    )


def train() -> Training:
    settings = ProbeSettings(partial(torch.optim.Adam, lr=0.05), 256, 3, 1.0)
    options = {
        name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    }
    trainer = partial(lightning.Trainer, accelerator="cpu", max_epochs=30, num_sanity_val_steps=0, **options)
    return Training(settings, trainer, 0, "")


@pytest.fixture(scope="module")
def measured() -> Transfer:
    """Two languages with the same neurons and other means, and one without any signal."""
    texts = [language("a"), language("b", seed=1, shift=4.0), language("noise", strength=0.0, seed=2)]
    return measure_transfer(texts, train(), resamples=300, seed=0, random_sets=19)


def cell(transfer: Transfer, source: str, target: str, standardised: Reference) -> Cell:
    [own] = [c for c in transfer.cells if (c.source, c.target, c.standardised) == (source, target, standardised)]
    return own


def scikit_learn(source: LanguageText, target: LanguageText, standardised: Reference) -> float:
    columns = np.array(KEY_SETS.union())

    def split(text: LanguageText, name: str) -> np.ndarray:
        return text.activations.columns(text.labels, columns)[name].double().numpy()

    own, reference = split(source, "train"), split(source if standardised == "source" else target, "train")
    fitted = LogisticRegression().fit((own - own.mean(0)) / own.std(0), source.labels.splits["train"].tags)
    test = (split(target, "test") - reference.mean(0)) / reference.std(0)
    return float(fitted.score(test, target.labels.splits["test"].tags))


def test_every_pair_is_measured_on_the_same_tags(measured: Transfer) -> None:
    assert (measured.names, measured.tags, len(measured.cells)) == (("a", "b", "noise"), NAMES, 18)
    assert {(c.words, c.new_words > 0) for c in measured.cells if c.source != c.target} == {(600, True)}
    assert cell(measured, "a", "a", "source").new_words == 0
    assert cell(measured, "a", "a", "source").new_accuracy is None


@pytest.mark.parametrize("standardised", ["source", "target"])
@pytest.mark.parametrize("target", ["a", "b"])
def test_accuracies_are_those_of_scikit_learn(measured: Transfer, target: str, standardised: Reference) -> None:
    texts = {"a": language("a"), "b": language("b", seed=1, shift=4.0)}
    expected = scikit_learn(texts["a"], texts[target], standardised)
    assert cell(measured, "a", target, standardised).accuracy == pytest.approx(expected, abs=0.02)


def test_other_means_hide_what_languages_share(measured: Transfer) -> None:
    as_trained, aligned = (cell(measured, "a", "b", each) for each in ("source", "target"))
    assert as_trained.accuracy < 0.5 < 0.9 < aligned.accuracy
    assert aligned.difference.low > 0.3
    assert aligned.p_adjusted == pytest.approx(9 * 0.05 / 4)  # the floor of 19 sets, for 4 of 9 cells
    assert aligned.new_accuracy == pytest.approx(aligned.accuracy)  # all words of the target are new
    own = cell(measured, "a", "a", "source")
    assert own == replace(cell(measured, "a", "a", "target"), standardised="source", p_adjusted=own.p_adjusted)


def test_without_signal_there_is_no_transfer(measured: Transfer) -> None:
    for source, target in (("noise", "a"), ("a", "noise")):
        none = cell(measured, source, target, "target")
        assert none.accuracy == pytest.approx(1 / 3, abs=0.08)
        assert none.difference.low < 0 < none.difference.high
        assert none.majority == pytest.approx(1 / 3, abs=0.08)


def test_sentences_of_the_source_are_no_test_sentences() -> None:
    a, b = language("a"), language("b")
    leak = {**b.treebank.splits, "test": (*a.treebank.splits["train"][:2], *b.treebank.splits["test"][2:])}
    kept = replace(b, treebank=Treebank("b", leak)).without_sentences_of(a)
    assert kept.labels.splits["test"].rows.tolist() == list(range(20, 600))
    whole = replace(b, treebank=Treebank("b", {**leak, "test": a.treebank.splits["train"]}))
    with pytest.raises(ValueError, match=r"^all test sentences of b are train sentences of a$"):
        whole.without_sentences_of(a)


def test_only_the_tags_of_all_languages_are_used() -> None:
    a, b = language("a"), language("b", seed=1)
    fewer = replace(
        b, labels=of_tags(b.labels, ("NOUN", "VERB")), sets=replace(KEY_SETS, tags={"NOUN": (), **KEY_SETS.tags})
    )
    own = measure_transfer([a, fewer], train(), resamples=100, seed=0, random_sets=2)
    assert own.tags == ("NOUN", "VERB")
    right = {"NOUN", "VERB"}
    for found in own.cells:
        tags = np.array(NAMES)[(a if found.target == "a" else b).labels.splits["test"].tags]
        assert found.words == sum(tag in right for tag in tags)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("x", "y"), r"^transfer needs two tags that all languages have, got none \(a: ADJ, NOUN, VERB; b: x, y\)$"),
        (("NOUN", "y"), r"^transfer needs two tags that all languages have, got NOUN \(a: "),
    ],
    ids=["none", "one"],
)
def test_languages_without_common_tags_are_refused(names: tuple[str, ...], message: str) -> None:
    a, b = language("a"), language("b")
    other = replace(b, labels=replace(of_tags(b.labels, NAMES[:2]), names=names))
    with pytest.raises(ValueError, match=message):
        measure_transfer([a, other], train(), resamples=100, seed=0)


def test_languages_without_key_neurons_are_refused() -> None:
    empty = NeuronSets("mlp", LAYERS, KEY_SETS.neurons_per_layer, dict.fromkeys(NAMES, ()))
    with pytest.raises(ValueError, match=r"transfer needs key neurons of ADJ, NOUN, VERB; b has none"):
        measure_transfer([language("a"), replace(language("b"), sets=empty)], train(), resamples=100, seed=0)
