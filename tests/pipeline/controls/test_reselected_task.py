"""Specificity: high for a planted grammar, about 0 for labels that are random per type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import lightning
import numpy as np
import pytest
import torch
from planting import KEY_SETS, LAYERS, NAMES, WIDTH, case, reselection

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case, Control, NotApplicable
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.pipeline.controls.reselected_task import ReselectedTask, control_labels
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, LabelledWords, Labels, NeuronSets, Split

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
TRAINING = Training(
    ProbeSettings(partial(torch.optim.Adam, lr=0.1), 1024, 5, 1.0),
    partial(lightning.Trainer, accelerator="cpu", max_epochs=60, **QUIET),
    0,
)
TYPES, PER_SPLIT = 60, 600


def text(strength: float, seed: int = 0) -> tuple[StoredActivations, Labels]:
    """Words of 60 types, each of which every neuron encodes at random; a tag has its own neurons.

    A type has one tag. The neurons encode the type (any labelling of types can be decoded from
    many of them), and with ``strength`` two neurons of layer 4 for each tag encode the tag.
    """
    rng = np.random.default_rng(seed)
    code = rng.normal(size=(TYPES, len(LAYERS), WIDTH))
    tag_of = rng.integers(3, size=TYPES)
    for tag in range(3):
        code[tag_of == tag, 1, 2 * tag : 2 * tag + 2] += strength
    arrays, words = {}, {}
    for split in SPLITS:
        types = rng.integers(TYPES, size=PER_SPLIT)
        noisy = code[types] + rng.normal(size=(PER_SPLIT, len(LAYERS), WIDTH))
        arrays[split] = {layer: noisy[:, i].astype(np.float16) for i, layer in enumerate(LAYERS)}
        words[split] = LabelledWords(np.arange(PER_SPLIT), tag_of[types], tuple(f"w{each}" for each in types))
    return StoredActivations(arrays, "mlp"), Labels("upos", NAMES, words)


def specificity(activations: StoredActivations, labels: Labels, seed: int = 0) -> tuple[float, Evidence]:
    """The specificity with 6 labellings, and all results."""
    reselect = reselection(activations, labels)
    controls: Mapping[str, Control] = {"random": RandomSets(10), "reselected_task": ReselectedTask(6, 5)}
    here = Case(labels, activations, reselect(labels, activations), np.arange(PER_SPLIT) // 10, seed, reselect)
    evidence = probe_key_neurons(Probing(TRAINING, controls, 0, 200, ResultStore()), here)
    return evidence.metrics()["probe/specificity"], evidence


@pytest.mark.slow
def test_key_neurons_of_a_planted_grammar_are_specific() -> None:
    value, evidence = specificity(*text(3.0))
    assert value > 0.15
    difference = evidence.differences["reselected_task"]
    assert difference.low > 0
    assert difference.p_value < 0.05
    own = evidence.metrics()
    assert own["probe/advantage"] - own["control/reselected_task/advantage"] == pytest.approx(value)


@pytest.mark.slow
def test_labels_without_grammar_have_no_specificity() -> None:
    """The tag of a type is itself a random one, in each of five texts."""
    values = [specificity(*text(0.0, seed), seed)[0] for seed in range(5)]
    assert abs(np.mean(values)) < 0.06
    advantages = specificity(*text(0.0))[1].metrics()["control/reselected_task/advantage"]
    assert advantages > 0.05  # selected for any labels, neurons beat random ones


def test_neurons_are_selected_for_the_labels_they_are_tested_on() -> None:
    here = case()
    asked: list[Labels] = []

    def reselect(labels: Labels, activations: object) -> NeuronSets:
        asked.append(labels)
        assert activations is here.activations
        return KEY_SETS

    trials = ReselectedTask(3, 4)(replace(here, reselect=reselect))
    assert len(trials) == len(asked) == 3
    for trial, labels in zip(trials, asked, strict=True):
        assert trial.columns is not None
        assert trial.tags is not None
        assert trial.columns.shape == (5, len(KEY_SETS.union()))
        assert trial.columns[0].tolist() == KEY_SETS.union()
        assert trial.baselines == 4
        per_layer = np.bincount(trial.columns[0] // WIDTH)
        assert all(np.bincount(row // WIDTH).tolist() == per_layer.tolist() for row in trial.columns)
        for split in SPLITS:
            assert np.array_equal(trial.tags[split], labels.splits[split].tags)
    drawn = [labels.splits["train"].tags for labels in asked]
    assert not np.array_equal(drawn[0], drawn[1])


def test_a_type_has_one_tag_in_all_splits_and_words_stay_where_they_are() -> None:
    labels = case().labels
    drawn = control_labels(labels, 3)
    tag_of: dict[str, int] = {}
    for split in SPLITS:
        own = drawn.splits[split]
        assert np.array_equal(own.rows, labels.splits[split].rows)
        assert all(tag_of.setdefault(each, int(tag)) == tag for each, tag in zip(own.types, own.tags, strict=True))
    assert {*tag_of.values()} == {0, 1, 2}
    again, other = control_labels(labels, 3).splits["test"].tags, control_labels(labels, 4).splits["test"].tags
    assert np.array_equal(drawn.splits["test"].tags, again)
    assert not np.array_equal(drawn.splits["test"].tags, other)


def test_attributed_words_keep_their_attributions() -> None:
    """Only every third train word has one; its tag is that of its type, as everywhere."""
    here = case()
    own = reselection(here.activations.stored(), here.labels)
    some = np.arange(0, 600, 3)
    train = here.labels.splits["train"]
    sample: dict[Split, LabelledWords] = {**here.labels.splits, "train": train.of(np.isin(train.rows, some))}
    words = replace(own.words, labels=replace(here.labels, splits=sample), sentences=some // 10, position=some)
    reselect = replace(own, words=words)
    alone = replace(own, words=replace(own.words, labels=words.labels, sentences=some // 10))
    for trial, seed in zip(
        ReselectedTask(2, 1)(replace(here, reselect=reselect)), (labelling_seeds(here.seed, 2)), strict=True
    ):
        assert trial.columns is not None
        labels = control_labels(words.labels, seed)
        # the tags of types are drawn from the tags of all train words, so the sample has these
        tags = control_labels(here.labels, seed).splits["train"].tags[some]
        labels = replace(labels, splits={**labels.splits, "train": replace(labels.splits["train"], tags=tags)})
        assert trial.columns[0].tolist() == alone(labels, here.activations).union()


def labelling_seeds(seed: int, draws: int) -> list[int]:
    return [int(each) for each in np.random.SeedSequence([seed, 1]).generate_state(draws)]


def test_what_cannot_be_selected_again_is_told() -> None:
    here = case()
    with pytest.raises(NotApplicable, match="not selected on these words"):
        ReselectedTask(1, 1)(replace(here, reselect=None))
    with pytest.raises(NotApplicable, match="selects no neuron"):
        ReselectedTask(1, 1)(replace(here, reselect=lambda *_: NeuronSets("mlp", LAYERS, WIDTH, {})))


def test_numbers_of_draws_and_sets() -> None:
    assert ReselectedTask(3, 9).reads(10, 10_000) == 300
    assert ReselectedTask(3, 9).reads(10, 100) == 100
    for draws, sets in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            ReselectedTask(draws, sets)
