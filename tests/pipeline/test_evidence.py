"""A planted neuron for each tag is found and beats its controls; with shuffled tags nothing does."""

from __future__ import annotations

from functools import partial

import lightning
import numpy as np
import pytest
import torch

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.probes import accuracy_of_all
from keyneurons.pipeline.probing import Evidence, gather_evidence, own_sets, text_controls
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, LabelledWords, Labels, NeuronSets, Split
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.rules import Rule, select

NAMES = ("ADJ", "NOUN", "VERB")
LAYERS, WIDTH = (1, 4), 30
PLANTED = {"ADJ": (1, 7), "NOUN": (4, 0), "VERB": (4, 29)}
SIZES: dict[Split, int] = {"train": 900, "dev": 400, "test": 400}


def planted(seed: int = 0, *, shuffled: bool = False) -> tuple[dict[Split, dict[int, np.ndarray]], Labels]:
    """Noise in two layers, but for one neuron a tag; every fifth word carries no tag at all."""
    rng = np.random.default_rng(seed)
    arrays: dict[Split, dict[int, np.ndarray]] = {}
    labelled: dict[Split, LabelledWords] = {}
    for split, n in SIZES.items():
        rows = np.flatnonzero(np.arange(n) % 5)
        tags = rng.integers(0, 3, len(rows))
        values = {layer: rng.normal(size=(n, WIDTH)).astype(np.float16) for layer in LAYERS}
        for i, name in enumerate(NAMES):
            layer, neuron = PLANTED[name]
            values[layer][rows[tags == i], neuron] += 4
        told = rng.permutation(tags) if shuffled else tags
        arrays[split] = values
        labelled[split] = LabelledWords(rows, told, tuple(f"w{word % 50}" for word in rows))
    return arrays, Labels("upos", NAMES, labelled)


def key_sets(arrays: dict[Split, dict[int, np.ndarray]], labels: Labels, k: int = 1) -> NeuronSets:
    scores = (
        StoredActivations(arrays, "mlp")
        .source(labels, "model", 2**24)
        .scores(Correlation(), labels.splits["train"].tags)
    )
    return select(scores, NAMES, Rule(k, "model"))


def quiet_trainer() -> lightning.Trainer:
    """A new trainer that says nothing."""
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=60,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def gathered(
    arrays: dict[Split, dict[int, np.ndarray]],
    labels: Labels,
    sets: NeuronSets | None = None,
    *,
    all_neurons: bool = True,
) -> Evidence:
    optimizer = partial(torch.optim.Adam, lr=0.1, betas=(0.9, 0.98))
    return gather_evidence(
        StoredActivations(arrays, "mlp"),
        labels,
        sets or key_sets(arrays, labels),
        settings=ProbeSettings(optimizer, batch_size=1024, patience=3, inverse_penalty=1.0),
        trainer=quiet_trainer,
        random_sets=20,
        own_random_sets=5,
        all_neurons=all_neurons,
        seed=0,
    )


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gathered(*planted())


def test_planted_neurons_are_the_key_neurons() -> None:
    found = key_sets(*planted()).tags
    assert {tag: (neurons[0].layer, neurons[0].neuron) for tag, neurons in found.items()} == PLANTED


def test_key_neurons_beat_random_sets_and_each_tag_is_read_off_its_own(evidence: Evidence) -> None:
    m = evidence.metrics
    assert m["probe/test_accuracy"] > 0.9
    assert m["control/random/test_accuracy"] < 0.6
    assert m["control/random/p_value"] == pytest.approx(1 / 21)
    assert m["probe/advantage"] == pytest.approx(m["probe/test_accuracy"] - m["control/random/test_accuracy"])
    assert m["probe/selectivity"] == pytest.approx(m["probe/test_accuracy"] - m["control/task/test_accuracy"])
    assert m["probe/selectivity"] > 0.3
    assert m["control/all_neurons/test_accuracy"] == pytest.approx(m["probe/test_accuracy"], abs=0.05)
    for tag in NAMES:
        assert m[f"own/f1/{tag}"] > 0.9
        assert m[f"own/random_f1/{tag}"] < 0.6
        assert m[f"probe/test_f1/{tag}"] > 0.9
    assert len(evidence.random_accuracy) == 20
    assert evidence.random_accuracy.std(ddof=1) == pytest.approx(m["control/random/test_accuracy_std"])


def test_with_shuffled_tags_nothing_stands_out() -> None:
    m = gathered(*planted(shuffled=True), all_neurons=False).metrics
    assert m["control/random/p_value"] > 0.05
    assert abs(m["probe/advantage"]) < 0.08
    assert m["probe/test_accuracy"] == pytest.approx(1 / 3, abs=0.1)
    assert "control/all_neurons/test_accuracy" not in m


def test_reading_only_the_needed_columns_changes_nothing(evidence: Evidence) -> None:
    fewer = gathered(*planted(), all_neurons=False)
    whole = {key: value for key, value in evidence.metrics.items() if "all_neurons" not in key}
    assert fewer.metrics == pytest.approx(whole)


def test_the_confusion_counts_every_test_word_once(evidence: Evidence) -> None:
    _, labels = planted()
    assert evidence.confusion is not None
    assert evidence.confusion.sum(1).tolist() == labels.counts("test").tolist()
    share = np.trace(evidence.confusion) / evidence.confusion.sum()
    assert share == pytest.approx(evidence.metrics["probe/test_accuracy"])


def test_the_kept_probe_predicts_as_it_was_measured(evidence: Evidence) -> None:
    arrays, labels = planted()
    probe, test = evidence.probe, labels.splits["test"]
    assert probe is not None
    side_by_side = np.concatenate([arrays["test"][layer][test.rows] for layer in LAYERS], axis=1)
    values = torch.from_numpy(side_by_side[:, probe.columns].astype(np.float32))
    predicted = (((values - probe.mean) / probe.std) @ probe.weight + probe.bias).argmax(1).numpy()
    assert (predicted == test.tags).mean() == pytest.approx(evidence.metrics["probe/test_accuracy"])


def test_columns_come_from_their_own_layer_and_from_labelled_words_only() -> None:
    arrays, labels = planted()
    columns = np.array([0, 7, WIDTH, WIDTH + 29])
    gathered_columns = StoredActivations(arrays, "mlp").columns(labels, columns)
    for split in SPLITS:
        rows = labels.splits[split].rows
        by_hand = np.stack([arrays[split][1 if c < WIDTH else 4][rows, c % WIDTH] for c in columns], axis=1)
        assert np.array_equal(gathered_columns[split].numpy(), by_hand)


def test_own_sets_are_matched_in_size_and_layer() -> None:
    sets = key_sets(*planted(), k=3)
    own, again, other = (own_sets(sets, 4, seed=seed) for seed in (0, 0, 1))
    assert tuple(own) == NAMES
    for tag, block in own.items():
        assert block.shape == (5, 3)
        assert block[0].tolist() == sets.columns(tag)
        per_layer = sorted(block[0] // WIDTH)
        assert all(sorted(drawn // WIDTH) == per_layer for drawn in block[1:])
        assert np.array_equal(again[tag], block)
        assert not np.array_equal(other[tag], block)


def test_sets_of_different_sizes_are_measured_each_on_its_own() -> None:
    arrays, labels = planted()
    one, three = key_sets(arrays, labels), key_sets(arrays, labels, k=3)
    tags = {"ADJ": (), "NOUN": one.tags["NOUN"], "VERB": three.tags["VERB"]}
    mixed = NeuronSets("mlp", LAYERS, WIDTH, tags)
    m = gathered(arrays, labels, mixed, all_neurons=False).metrics
    alone = gathered(arrays, labels, all_neurons=False).metrics
    assert m["own/f1/NOUN"] == pytest.approx(alone["own/f1/NOUN"])
    assert m["own/f1/VERB"] > 0.9
    assert "own/f1/ADJ" not in m
    assert "own/random_f1/ADJ" not in m
    assert "probe/test_f1/ADJ" in m


def test_without_key_neurons_only_the_controls_are_measured() -> None:
    arrays, labels = planted()
    found = gathered(arrays, labels, NeuronSets("mlp", LAYERS, WIDTH, dict.fromkeys(NAMES, ())))
    assert set(found.metrics) == {
        "control/all_neurons/test_accuracy",
        "control/majority/test_accuracy",
        "control/word_type/test_accuracy",
    }
    assert (found.probe, found.confusion, found.random_accuracy.size) == (None, None, 0)
    assert found.union.shape == (len(labels.splits["train"].rows), 0)


def test_text_controls_by_hand() -> None:
    """Majority is tag 0 (3 of 5); "run" was 1 twice, "the" 0; "new" falls back to the majority."""
    train = LabelledWords(np.arange(6), np.array([0, 0, 0, 1, 1, 0]), ("the", "the", "the", "run", "run", "run"))
    test = LabelledWords(np.arange(5), np.array([0, 1, 0, 1, 0]), ("the", "run", "run", "new", "new"))
    labels = Labels("upos", ("DET", "VERB"), {"train": train, "dev": test, "test": test})
    assert text_controls(labels) == {
        "control/majority/test_accuracy": pytest.approx(3 / 5),
        "control/word_type/test_accuracy": pytest.approx(3 / 5),
    }


def test_the_probe_on_all_neurons_is_trained_once_for_the_same_words() -> None:
    trained = []

    def trainer() -> lightning.Trainer:
        trained.append(1)
        return quiet_trainer()

    settings = ProbeSettings(partial(torch.optim.Adam, lr=0.1), batch_size=1024, patience=3, inverse_penalty=1.0)
    accuracy = {}
    for name, seed, shuffled in (("first", 1, False), ("again", 1, False), ("other", 2, False), ("chance", 1, True)):
        arrays, labels = planted(seed, shuffled=shuffled)
        features = StoredActivations(arrays, "mlp").columns(labels, np.arange(len(LAYERS) * WIDTH))
        accuracy[name] = accuracy_of_all(features, labels, settings=settings, trainer=trainer, seed=0)
    assert len(trained) == 3
    assert accuracy["again"] == accuracy["first"] > 0.8
    assert accuracy["other"] != accuracy["first"]
    assert accuracy["chance"] < 0.5
