"""Worth of the key neurons, from probes whose accuracy is a known function of their size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from predicting import SENTENCES, WORDS, evidence

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.all_neurons import AllNeurons
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.pipeline.worth import SizeCurves, Worth, measure_worth
from keyneurons.probe.fit import ProbeResults, ProbeSettings, ProbeTask
from keyneurons.probe.rows import Rows
from keyneurons.records import SPLITS, KeyNeuron, LabelledWords, Labels, NeuronSets

LAYERS, WIDTH = (3, 5), 256
NAMES = ("A", "B", "C")
CURVES = SizeCurves(7, 5)
SIZES = [8, 16, 32, 64, 128, 256, 512]


@dataclass(frozen=True)
class Simulated(Training):
    """Predicts each word rightly with a probability that depends on the probe's neurons."""

    chance: Callable[[np.ndarray], float] = field(kw_only=True)
    trained: list[ProbeTask] = field(kw_only=True, default_factory=list)

    def __call__(self, features: Mapping[str, Rows], tasks: list[ProbeTask]) -> list[ProbeResults]:
        self.trained.extend(tasks)
        return [self.result(features, task) for task in tasks]

    def result(self, features: Mapping[str, Rows], task: ProbeTask) -> ProbeResults:
        probes, n = task.columns.shape
        originals = features["train"][torch.tensor([0])][0].numpy().astype(np.int64)[task.columns]
        test, rng = task.labels_of_probes("test"), np.random.default_rng([n, int(originals.sum())])
        chance = np.array([self.chance(columns) for columns in originals])
        right = torch.from_numpy(rng.random(test.shape) < chance[:, None])
        return ProbeResults(
            columns=task.columns,
            weights=torch.zeros(probes, n, task.n_classes),
            biases=torch.zeros(probes, task.n_classes),
            mean=torch.zeros(probes, n),
            std=torch.ones(probes, n),
            dev_accuracy=torch.zeros(probes).double(),
            test_predictions=torch.where(right, test, (test + 1) % task.n_classes),
            best_epoch=torch.ones(probes).long(),
            epochs=1,
        )


def by_log_size(columns: np.ndarray) -> float:
    """.3 for 8 neurons, .9 for 512: a tenth more with every doubling."""
    return 0.3 + 0.1 * float(np.log2(len(columns) / 8))


def training(chance: Callable[[np.ndarray], float] = by_log_size) -> Simulated:
    settings = ProbeSettings(partial(torch.optim.Adam, lr=0.1), 8, 3, 1.0)
    return Simulated(settings, lightning.Trainer, 0, "simulated", chance=chance)


def key_sets(*columns: list[int]) -> NeuronSets:
    """Key neurons of every tag, by position in the concatenated layers, strongest first."""
    neurons = [tuple(KeyNeuron(LAYERS[c // WIDTH], c % WIDTH, 1.0) for c in own) for own in columns]
    return NeuronSets("mlp", LAYERS, WIDTH, dict(zip(NAMES, neurons, strict=True)))


THIRTY = key_sets([*range(10)], [*range(100, 110)], [*range(300, 310)])


def activations(folder: Path | None = None) -> StoredActivations:
    """Every neuron holds its number; its variance falls with the number within its layer."""
    rng, arrays = np.random.default_rng(0), {}
    for split in SPLITS:
        arrays[split] = {}
        for i, layer in enumerate(LAYERS):
            values = np.tile(np.arange(WIDTH) + i * WIDTH, (WORDS, 1)).astype(np.float32)
            values[1:] += rng.normal(size=(WORDS - 1, 1)) * np.linspace(2, 1, WIDTH)
            arrays[split][layer] = values if folder is None else stored(folder / f"{split}.{layer}.npy", values)
    return StoredActivations(arrays, "mlp")


def stored(path: Path, values: np.ndarray) -> np.ndarray:
    np.save(path, values)
    return np.load(path, mmap_mode="r")


def case(sets: NeuronSets = THIRTY, read: StoredActivations | None = None, store: Path | None = None) -> Case:
    words = LabelledWords(np.arange(WORDS), np.arange(WORDS) % 3, tuple(f"w{i}" for i in range(WORDS)))
    labels = Labels("upos", NAMES, dict.fromkeys(SPLITS, words))
    return Case(labels, read or activations(), sets, SENTENCES, 0, results=ResultStore(store))


def measured(key_accuracy: float, train: Simulated | None = None, own: Case | None = None) -> Worth:
    """The worth of key neurons whose probe has an accuracy."""
    key = np.arange(WORDS) * 7 % WORDS < key_accuracy * WORDS
    worth = measure_worth(CURVES, train or training(), own or case(), evidence(key, {}))
    assert worth is not None
    return worth


@pytest.mark.parametrize(("accuracy", "neurons"), [(0.5, 32), (0.65, 64 * 2**0.5), (0.85, 256 * 2**0.5)], ids=str)
def test_the_worth_is_the_size_of_the_same_accuracy(accuracy: float, neurons: float) -> None:
    worth = measured(accuracy)
    assert worth.sizes.tolist() == SIZES
    assert worth.reached
    assert worth.neurons.low < neurons < worth.neurons.high
    assert np.log2(worth.neurons.value) == pytest.approx(np.log2(neurons), abs=0.35)  # .035 of accuracy
    assert worth.n_key == 30


@pytest.mark.slow
def test_the_interval_covers_the_true_worth() -> None:
    """Test words and random sets are drawn anew each time; nominally 95 %."""
    covered, rng = 0, np.random.default_rng(0)
    curves = SizeCurves(7, 20)
    for seed in range(60):
        quality = dict(zip(SIZES, 0.3 + 0.1 * np.arange(7), strict=True))
        train = training(
            lambda columns, q=quality, r=rng: float(q[len(columns)] + r.normal(0, 0.03)) if len(columns) < 512 else 0.9
        )
        own = replace(case(key_sets([0], [1], [2])), seed=seed)
        found = measure_worth(curves, train, own, evidence(rng.random(WORDS) < 0.6, {}, resamples=400))
        assert found is not None
        covered += found.neurons.low <= 64 <= found.neurons.high
    assert 52 <= covered <= 60


def test_worth_beyond_all_neurons_is_the_number_of_all() -> None:
    worth = measured(0.99)
    m = worth.metrics()
    assert (m["worth/neurons"], m["worth/neurons_low"], m["worth/neurons_high"]) == (512, 512, 512)
    assert m["worth/reached"] == 0
    assert all(np.isfinite(list(m.values())))


def test_worth_below_the_smallest_size_is_the_smallest() -> None:
    worth = measured(0.1)
    assert (worth.neurons.value, worth.neurons.high, worth.reached) == (8, 8, True)


def test_accuracies_at_equal_size() -> None:
    """Only the key neurons tell the tag; in order of rank every third belongs to one tag."""
    key = set(THIRTY.union())
    train = training(lambda columns: len(key & set(columns.tolist())) / 32)
    worth = measured(0.9, train)
    m = worth.metrics()
    assert list(worth.key) == [8, 16, 30]
    assert m["equal_size/accuracy/8"] == pytest.approx(8 / 32, abs=0.06)
    assert m["equal_size/accuracy/16"] == pytest.approx(16 / 32, abs=0.06)
    assert "equal_size/accuracy/32" not in m
    assert m["equal_size/random/64"] < 0.2
    assert m["equal_size/random/512"] == m["equal_size/top_variance/512"]
    assert set(m) >= {f"equal_size/{sets}/{size}" for sets in ("random", "top_variance") for size in SIZES}


def test_key_neurons_are_cut_by_rank_and_variance_by_layer() -> None:
    seen: dict[int, list[list[int]]] = {}
    train = training(lambda columns: float(seen.setdefault(len(columns), []).append(columns.tolist()) or 0.5))
    measured(0.9, train)
    assert [0, 1, 2, 100, 101, 102, 300, 301] in seen[8]
    assert [0, 1, 2, 3, 256, 257, 258, 259] in seen[8]
    assert len(seen[8]) == 5 + 2
    assert len(seen[64]) == 5 + 1
    assert seen[512] == [list(range(512))]
    assert all(len(set(columns)) == 64 for columns in seen[64])


def test_without_sizes_or_key_neurons_nothing_is_measured() -> None:
    own = evidence(np.ones(WORDS, dtype=bool), {})
    assert measure_worth(SizeCurves(0, 5), training(), case(), own) is None
    assert measure_worth(CURVES, training(), case(), replace(own, key_neurons=None)) is None


def test_two_methods_train_the_curve_once(tmp_path: Path) -> None:
    read = activations(tmp_path)
    probing = Probing(
        training(), {"random": RandomSets(9), "all": AllNeurons()}, 2, 100, ResultStore(tmp_path / "probes")
    )
    other = key_sets([200], [210], [220, 230])

    def run(sets: NeuronSets) -> tuple[Worth | None, list[tuple[int, int]]]:
        own = case(sets, read, tmp_path / "probes")
        found = probe_key_neurons(probing, own)
        worth = measure_worth(CURVES, probing.train, own, found)
        assert isinstance(probing.train, Simulated)
        trained = [task.columns.shape for task in probing.train.trained]
        probing.train.trained.clear()
        return worth, trained

    first, trained = run(THIRTY)
    key_and_tags = [(1, 30), (9, 10)]
    assert sorted(trained) == sorted([
        *key_and_tags,
        (9, 30),
        (1, 512),
        (7, 8),
        (7, 16),
        (6, 32),
        (6, 64),
        (6, 128),
        (6, 256),
    ])
    again, trained = run(THIRTY)
    assert trained == key_and_tags
    assert first is not None
    assert again is not None
    assert first.metrics() == again.metrics()
    second, trained = run(other)
    assert sorted(trained) == [(1, 4), (3, 2), (6, 1), (9, 4)]
    assert second is not None
    assert second.metrics()["equal_size/random/64"] == first.metrics()["equal_size/random/64"]


@pytest.mark.parametrize("change", ["seed", "identity", "tags", "words", "file"])
def test_results_are_not_shared_where_an_input_differs(tmp_path: Path, change: str) -> None:
    read, train = activations(tmp_path), training()
    own = case(read=read, store=tmp_path / "probes")
    measured(0.5, train, own)
    n = len(train.trained)
    test = own.labels.splits["test"]
    other = {
        "tags": replace(test, tags=test.tags[::-1].copy()),
        "words": replace(test, rows=test.rows[::-1].copy()),
    }.get(change, test)
    own = replace(own, labels=replace(own.labels, splits={**own.labels.splits, "test": other}))
    if change == "file":
        own = replace(own, activations=activations(tmp_path))
    train = replace(train, **{"seed": {"seed": 1}, "identity": {"identity": "other"}}.get(change, {}))
    measured(0.5, train, own)
    assert len(train.trained) == 2 * n
