"""Probes against scikit-learn, against probes trained alone, and sanity checks."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from keyneurons.probe.curve import LearningCurve
from keyneurons.probe.fit import ProbeResults, ProbeSettings, ProbeTask, train_probes

ALL = np.arange(60)[None]


def train_one(features, labels, columns, n_classes, **how) -> ProbeResults:
    """Train the probes of a single task."""
    [results] = train_probes(features, [ProbeTask(columns, labels, n_classes)], **how)
    return results


def accuracy(results, labels):
    return (results.test_predictions == labels["test"]).double().mean(dim=1)


@pytest.mark.parametrize("n_features", [5, 20, 60])
def test_accuracy_is_that_of_converged_scikit_learn(words, settings, trainer, n_features):
    features, labels = words
    columns = ALL[:, :n_features]
    train_with = partial(train_one, features, labels, columns, 6, settings=settings, trainer=trainer)
    ours = torch.cat([accuracy(train_with(seed=seed), labels) for seed in range(4)]).mean()
    train = features["train"].numpy().astype(np.float32)[:, columns[0]]
    test = features["test"].numpy().astype(np.float32)[:, columns[0]]
    mean, std = train.mean(axis=0), train.std(axis=0)
    oracle = LogisticRegression(C=1.0, max_iter=5000).fit((train - mean) / std, labels["train"][0].numpy())
    expected = oracle.score((test - mean) / std, labels["test"][0].numpy())
    assert float(ours) >= expected - 0.005  # the order of the batches moves a single one
    assert expected > 0.5


@pytest.mark.slow
def test_batch_trains_as_each_alone(words, settings, trainer):
    features, labels = words
    rng = np.random.default_rng(1)
    columns = np.stack([rng.choice(60, 10, replace=False) for _ in range(5)])
    several = {s: torch.cat([labels[s], (labels[s] + 1) % 6, labels[s], labels[s], labels[s]]) for s in labels}
    train = partial(train_one, features, n_classes=6, settings=settings, trainer=trainer, seed=3)
    together = train(several, columns)
    for p in range(5):
        alone = train({s: several[s][p : p + 1] for s in several}, columns[p : p + 1])
        assert alone.best_epoch[0] == together.best_epoch[p]
        assert torch.allclose(alone.weights[0], together.weights[p], atol=1e-4)
        assert torch.equal(alone.test_predictions[0], together.test_predictions[p])
    assert len(set(together.best_epoch.tolist())) > 1


def test_tasks_train_as_each_alone(words, settings, trainer):
    features, labels = words
    rng = np.random.default_rng(2)
    of_two = {split: (own == 1).long().repeat(3, 1) for split, own in labels.items()}
    tasks = [
        ProbeTask(ALL, labels, 6),
        ProbeTask(np.stack([rng.choice(60, 4, replace=False) for _ in range(3)]), of_two, 2),
    ]
    train = partial(train_probes, features, settings=settings, trainer=trainer, seed=3)
    for task, together in zip(tasks, train(tasks), strict=True):
        [alone] = train([task])
        assert torch.equal(alone.best_epoch, together.best_epoch)
        assert torch.allclose(alone.weights, together.weights, atol=1e-4)
        assert torch.equal(alone.test_predictions, together.test_predictions)


def test_probes_that_share_labels_name_their_row(words, settings, trainer):
    features, labels = words
    columns = np.stack([np.random.default_rng(4).choice(60, 4, replace=False) for _ in range(3)])
    rows = {split: torch.cat([own, (own + 1) % 6]) for split, own in labels.items()}
    each = {split: own[[1, 0, 1]] for split, own in rows.items()}
    how = {"settings": settings, "trainer": trainer, "seed": 0}
    named, written = (
        train_probes(features, [task], **how)[0]
        for task in (ProbeTask(columns, rows, 6, np.array([1, 0, 1])), ProbeTask(columns, each, 6))
    )
    assert torch.equal(named.weights, written.weights)
    assert torch.equal(named.dev_accuracy, written.dev_accuracy)
    [shared] = train_probes(features, [ProbeTask(columns[:2], labels, 6)], **how)
    assert torch.allclose(shared.weights[1], named.weights[1], atol=1e-4)


class OnDemand:
    """Activations that are no tensor, such as those of memory-mapped arrays."""

    def __init__(self, values):
        self._values, self.shape, self.reads = values, tuple(values.shape), 0

    def __getitem__(self, words):
        self.reads += 1
        return self._values[words]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("memory_bytes", [1, 2**30])
def test_results_depend_neither_on_threads_nor_on_memory(words, settings, trainer, threads, memory_bytes):
    features, labels = words
    rng = np.random.default_rng(3)
    few = np.stack([rng.choice(60, 40, replace=False) for _ in range(20)])
    tasks = [ProbeTask(ALL, labels, 6), ProbeTask(few, labels, 6)]
    how = {"trainer": partial(trainer, max_epochs=3), "seed": 0}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = train_probes(features, tasks, settings=settings, **how)
        torch.set_num_threads(threads)
        source = {split: OnDemand(values) for split, values in features.items()}
        limited = dataclasses.replace(settings, memory_bytes=memory_bytes)
        got = train_probes(source, tasks, settings=limited, **how)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other in zip(expected, got, strict=True):
        assert torch.allclose(one.weights, other.weights, atol=1e-5)  # threads divide sums differently
        assert torch.equal(one.test_predictions, other.test_predictions)
        assert torch.equal(one.dev_accuracy, other.dev_accuracy)
    n_pieces = -(-3000 // 1024)  # to fit the standardiser
    assert source["train"].reads == n_pieces + 12 * (1 if memory_bytes > 1 else 3)


def test_same_seed_repeats_bit_for_bit_and_another_does_not(words, settings, trainer):
    features, labels = words
    train = partial(train_one, features, labels, ALL, 6, settings=settings, trainer=trainer)
    first, again, other = train(seed=0), train(seed=0), train(seed=1)
    for field in ("weights", "biases", "test_predictions", "dev_accuracy"):
        assert torch.equal(getattr(first, field), getattr(again, field))
    assert not torch.equal(first.weights, other.weights)


def test_shuffled_labels_give_chance_and_true_ones_do_not(words, settings, trainer):
    features, labels = words
    order = torch.randperm(labels["train"].shape[1], generator=torch.Generator().manual_seed(0))
    both = {
        "train": torch.cat([labels["train"], labels["train"][:, order]]),
        "dev": labels["dev"].expand(2, -1),
    }
    columns = np.repeat(ALL, 2, axis=0)
    true, shuffled = accuracy(
        train_one(features, both, columns, 6, settings=settings, trainer=trainer, seed=0), labels
    ).tolist()
    majority = (labels["test"] == 0).double().mean().item()
    assert abs(shuffled - majority) < 0.04
    assert true > majority + 0.3


def test_the_best_dev_epoch_is_kept_when_training_overfits(words, settings, trainer):
    features, labels = words
    few = {**features, "train": features["train"][:80]}
    own = {**labels, "train": labels["train"][:, :80]}
    loose = dataclasses.replace(settings, C=1e6)
    kept = train_one(few, own, ALL, 6, settings=loose, trainer=trainer, seed=0)
    stop = int(kept.best_epoch[0])
    assert kept.epochs == stop + loose.patience
    short = train_one(few, own, ALL, 6, settings=loose, trainer=partial(trainer, max_epochs=stop), seed=0)
    assert torch.equal(kept.weights, short.weights)
    late = dataclasses.replace(loose, patience=1000)
    longer = train_one(few, own, ALL, 6, settings=late, trainer=partial(trainer, max_epochs=stop + 9), seed=0)
    assert longer.epochs == stop + 9
    assert torch.equal(longer.weights, kept.weights)


def test_constant_column_has_no_weight_and_does_not_disturb(words, settings, trainer):
    features, labels = words
    constant = {s: f.clone() for s, f in features.items()}
    constant["train"][:, 0] = 0.1
    results = train_one(constant, labels, ALL, 6, settings=settings, trainer=trainer, seed=0)
    assert results.weights[0, 0].abs().max() == 0
    assert results.std[0, 0] == 0
    without = train_one(constant, labels, ALL[:, 1:], 6, settings=settings, trainer=trainer, seed=0)
    assert accuracy(results, labels)[0] == pytest.approx(float(accuracy(without, labels)[0]), abs=0.01)


def test_results_alone_reproduce_the_predictions(words, settings, trainer):
    features, labels = words
    columns = np.array([[7, 3, 50], [3, 59, 0]])
    pair = {s: y.expand(2, -1) for s, y in labels.items()}
    r = train_one(features, pair, columns, 6, settings=settings, trainer=trainer, seed=0)
    for p in range(2):
        x = (features["test"].float()[:, columns[p]] - r.mean[p]) / r.std[p]
        agree = ((x @ r.weights[p] + r.biases[p]).argmax(dim=1) == r.test_predictions[p]).double().mean()
        assert agree > 0.999


def test_test_split_touches_nothing_but_the_predictions(words, settings, trainer):
    features, labels = words
    poisoned = {**features, "test": torch.full_like(features["test"], 3e4)}
    no_test_labels = {s: labels[s] for s in ("train", "dev")}
    train = partial(train_one, columns=ALL, n_classes=6, settings=settings, trainer=trainer, seed=0)
    clean, dirty = train(features, labels), train(poisoned, no_test_labels)
    assert torch.equal(clean.weights, dirty.weights)
    assert torch.equal(clean.std, dirty.std)
    assert not torch.equal(clean.test_predictions, dirty.test_predictions)


def test_lightning_is_silent_and_its_loggers_are_restored(words, settings, trainer, capfd):
    features, labels = words
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_one(features, labels, ALL, 6, settings=settings, trainer=trainer, seed=0)
    assert capfd.readouterr() == ("", "")
    assert logger.level == before


def test_bad_input_is_named(words, settings, trainer):
    features, labels = words
    train = partial(train_one, n_classes=6, settings=settings, trainer=trainer, seed=0)
    with pytest.raises(ValueError, match=r"columns must lie in 0\.\.59, got 60\.\.60"):
        train(features, labels, np.array([[60]]))
    with pytest.raises(ValueError, match="neither empty"):
        train(features, labels, np.zeros((1, 0), dtype=np.int64))
    of_two = {split: y.expand(2, -1) for split, y in labels.items()}
    with pytest.raises(ValueError, match=r"train labels must be of 1 or 3 probes, got 2"):
        train(features, of_two, np.repeat(ALL, 3, axis=0))
    with pytest.raises(ValueError, match=r"dev labels must be of 1200 words, got 3000"):
        train(features, {**labels, "dev": labels["train"]}, ALL)
    with pytest.raises(ValueError, match=r"train labels must lie in 0\.\.5, got"):
        train(features, {**labels, "train": labels["train"] + 1}, ALL)
    for split in ("train", "dev", "test"):
        broken = features[split].clone()
        broken[0, 7] = torch.inf
        with pytest.raises(ValueError, match=f"non-finite feature columns in {split}: 1, first 7"):
            train({**features, split: broken}, labels, ALL)
    with pytest.raises(ValueError, match="patience of the probe must be above 0, got 0"):
        ProbeSettings(settings.optimizer, batch_size=10, patience=0, C=1.0)


def test_a_recorded_probe_has_its_loss_by_epoch(words, settings, trainer):
    """The curve starts at chance and agrees with the probe at its best epoch."""
    features, labels = words
    how = {"settings": settings, "trainer": trainer, "seed": 3}
    [plain] = train_probes(features, [ProbeTask(ALL, labels, 6)], **how)
    [own] = train_probes(features, [ProbeTask(ALL, labels, 6, record=True)], **how)
    assert plain.curve is None
    assert torch.equal(plain.weights, own.weights)
    best = int(own.best_epoch[0])
    assert len(own.curve.dev_loss) == len(own.curve.train_loss) == own.epochs == best + settings.patience
    assert own.curve.dev_accuracy[best - 1] == pytest.approx(float(own.dev_accuracy[0]), abs=1e-6)
    standard = (features["dev"].float() - own.mean[0]) / own.std[0]
    loss = torch.nn.functional.cross_entropy(standard @ own.weights[0] + own.biases[0], labels["dev"][0])
    assert own.curve.dev_loss[best - 1] == pytest.approx(float(loss), rel=1e-4)
    assert own.curve.train_loss[best - 1] < own.curve.train_loss[0] < np.log(6)


def test_the_train_loss_of_an_epoch_without_learning_is_that_of_chance(words, settings, trainer):
    features, labels = words
    still = dataclasses.replace(settings, optimizer=partial(torch.optim.SGD, lr=0.0))
    task = ProbeTask(ALL, labels, 6, record=True)
    [own] = train_probes(features, [task], settings=still, trainer=trainer, seed=0)
    assert own.curve.train_loss == pytest.approx([np.log(6)] * own.epochs)
    assert own.curve.dev_loss == pytest.approx([np.log(6)] * own.epochs)
    assert own.curve.dev_accuracy == pytest.approx([float((labels["dev"] == 0).double().mean())] * own.epochs)
    assert own.curve.by_epoch()["epoch/dev_loss"].keys() == set(range(1, own.epochs + 1))


def test_epochs_without_a_finite_loss_are_left_out():
    curve = LearningCurve((0.5, float("nan")), (0.4, float("inf")), (0.9, 0.8))
    assert curve.by_epoch() == {
        "epoch/train_loss": {1: 0.5},
        "epoch/dev_loss": {1: 0.4},
        "epoch/dev_accuracy": {1: 0.9, 2: 0.8},
    }


def test_several_probes_are_not_recorded(words, settings, trainer):
    features, labels = words
    task = ProbeTask(ALL.repeat(2, 0), labels, 6, record=True)
    with pytest.raises(ValueError, match="only a single probe can be recorded, got 2"):
        train_probes(features, [task], settings=settings, trainer=trainer, seed=0)
