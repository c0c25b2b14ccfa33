"""Planted neurons beat their controls; with shuffled tags they do not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import lightning
import numpy as np
import pytest
import torch

from keyneurons.choices import ControlRole
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.all_neurons import AllNeurons
from keyneurons.pipeline.controls.control import Case, Control, NotApplicable, Trial
from keyneurons.pipeline.controls.control_task import ControlTask
from keyneurons.pipeline.controls.majority import Majority
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.pipeline.controls.word_type import WordType
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.per_tag import tag_sets
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, KeyNeuron, LabelledWords, Labels, NeuronSets, Split
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.rules import Rule, select

NAMES = ("ADJ", "NOUN", "VERB")
LAYERS, WIDTH = (1, 4), 30
PLANTED = {"ADJ": (1, 7), "NOUN": (4, 0), "VERB": (4, 29)}
CONTROLS: Mapping[str, Control] = {
    "random": RandomSets(20),
    "all_neurons": AllNeurons(),
    "task": ControlTask(),
    "word_type": WordType(),
    "majority": Majority(),
}
SIZES: dict[Split, int] = {"train": 900, "dev": 400, "test": 400}


def planted(seed: int = 0, *, shuffled: bool = False) -> tuple[dict[Split, dict[int, np.ndarray]], Labels]:
    """Noise in two layers with one planted neuron per tag; every fifth word is unlabelled."""
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
    """A new trainer without output."""
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
    without: Collection[str] = (),
    trainer: Callable[[], lightning.Trainer] = quiet_trainer,
    folder: Path | None = None,
    more: Mapping[str, Control] = MappingProxyType({}),
) -> Evidence:
    settings = ProbeSettings(partial(torch.optim.Adam, lr=0.07, betas=(0.9, 0.98), fused=True), 256, 3, 1.0)
    controls = {name: control for name, control in CONTROLS.items() if name not in without}
    probing = Probing(Training(settings, trainer, 0, "test"), {**controls, **more}, 5, 200, ResultStore(folder))
    activations = StoredActivations(arrays, "mlp")
    sentences = labels.splits["test"].rows // 10
    own = Case(labels, activations, sets or key_sets(arrays, labels), sentences, 0, results=probing.results)
    return probe_key_neurons(probing, own)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gathered(*planted())


def test_planted_neurons_are_the_key_neurons() -> None:
    found = key_sets(*planted()).tags
    assert {tag: (neurons[0].layer, neurons[0].neuron) for tag, neurons in found.items()} == PLANTED


def test_key_neurons_beat_random_sets_and_each_tag_is_read_off_its_own(evidence: Evidence) -> None:
    m = evidence.metrics()
    assert m["probe/test_accuracy"] > 0.9
    assert m["control/random/test_accuracy"] < 0.6
    assert m["control/random/p_value"] == pytest.approx(1 / 21)
    assert m["probe/advantage"] == pytest.approx(m["probe/test_accuracy"] - m["control/random/test_accuracy"])
    assert m["probe/selectivity"] == pytest.approx(m["probe/test_accuracy"] - m["control/task/test_accuracy"])
    assert m["probe/selectivity"] > 0.3
    assert m["control/all_neurons/test_accuracy"] == pytest.approx(m["probe/test_accuracy"], abs=0.05)
    for tag in NAMES:
        assert m[f"per_tag/f1/{tag}"] > 0.9
        assert m[f"per_tag/random_f1/{tag}"] < 0.6
        assert m[f"probe/test_f1/{tag}"] > 0.9
    drawn = evidence.controls["random"].accuracy
    assert len(drawn) == 20
    assert drawn.std(ddof=1) == pytest.approx(m["control/random/test_accuracy_std"])


def test_with_shuffled_tags_nothing_stands_out() -> None:
    m = gathered(*planted(shuffled=True), without=["all_neurons"]).metrics()
    assert m["control/random/p_value"] > 0.05
    assert abs(m["probe/advantage"]) < 0.08
    assert m["probe/test_accuracy"] == pytest.approx(1 / 3, abs=0.1)
    assert "control/all_neurons/test_accuracy" not in m


def test_reading_only_the_needed_columns_changes_nothing(evidence: Evidence) -> None:
    fewer = gathered(*planted(), without=["all_neurons"])
    whole = {key: value for key, value in evidence.metrics().items() if "all_neurons" not in key}
    assert fewer.metrics() == pytest.approx(whole)


def test_the_confusion_counts_every_test_word_once(evidence: Evidence) -> None:
    _, labels = planted()
    assert evidence.key_neurons is not None
    confusion = evidence.key_neurons.scores.confusion
    assert confusion.sum(1).tolist() == labels.counts("test").tolist()
    share = np.trace(confusion) / confusion.sum()
    assert share == pytest.approx(evidence.metrics()["probe/test_accuracy"])


def test_the_kept_probe_predicts_as_it_was_measured(evidence: Evidence) -> None:
    arrays, labels = planted()
    assert evidence.key_neurons is not None
    probe, test = evidence.key_neurons.probe, labels.splits["test"]
    side_by_side = np.concatenate([arrays["test"][layer][test.rows] for layer in LAYERS], axis=1)
    values = torch.from_numpy(side_by_side[:, probe.columns].astype(np.float32))
    predicted = (((values - probe.mean) / probe.std) @ probe.weight + probe.bias).argmax(1).numpy()
    assert (predicted == test.tags).mean() == pytest.approx(evidence.metrics()["probe/test_accuracy"])


def test_columns_come_from_their_own_layer_and_from_labelled_words_only() -> None:
    arrays, labels = planted()
    columns = np.array([0, 7, WIDTH, WIDTH + 29])
    gathered_columns = StoredActivations(arrays, "mlp").columns(labels, columns)
    for split in SPLITS:
        rows = labels.splits[split].rows
        by_hand = np.stack([arrays[split][1 if c < WIDTH else 4][rows, c % WIDTH] for c in columns], axis=1)
        assert np.array_equal(gathered_columns[split].numpy(), by_hand)
        some = torch.tensor([3, 0, 3])
        read_late = StoredActivations(arrays, "mlp").rows(labels, columns)[split]
        assert read_late.shape == by_hand.shape
        assert np.array_equal(read_late[some].numpy(), by_hand[some.numpy()])


def test_own_sets_are_matched_in_size_and_layer() -> None:
    sets = key_sets(*planted(), k=3)
    (own,), (again,), (other,) = (tag_sets(sets, 4, seed=seed) for seed in (0, 0, 1))
    own, again, other = own.columns, again.columns, other.columns
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
    m = gathered(arrays, labels, mixed, without=["all_neurons"]).metrics()
    alone = gathered(arrays, labels, without=["all_neurons"]).metrics()
    assert m["per_tag/f1/NOUN"] == pytest.approx(alone["per_tag/f1/NOUN"])
    assert m["per_tag/f1/VERB"] > 0.9
    assert "per_tag/f1/ADJ" not in m
    assert "per_tag/random_f1/ADJ" not in m
    assert "probe/test_f1/ADJ" in m


def test_without_key_neurons_only_the_controls_are_measured() -> None:
    arrays, labels = planted()
    found = gathered(arrays, labels, NeuronSets("mlp", LAYERS, WIDTH, dict.fromkeys(NAMES, ())))
    assert set(found.metrics()) == {
        "control/all_neurons/test_accuracy",
        "control/majority/test_accuracy",
        "control/word_type/test_accuracy",
    }
    assert found.key_neurons is None
    assert found.per_tag == {}
    assert found.union.shape == (len(labels.splits["train"].rows), 0)


def test_the_probe_on_all_neurons_is_trained_once_for_the_same_words(tmp_path: Path) -> None:
    trained = []

    def trainer() -> lightning.Trainer:
        trained.append(1)
        return quiet_trainer()

    accuracy = {}
    for name, seed, shuffled in (("first", 1, False), ("again", 1, False), ("other", 2, False), ("chance", 1, True)):
        arrays, labels = planted(seed, shuffled=shuffled)
        arrays = mapped(arrays, tmp_path / f"activations of seed {seed}")
        empty = NeuronSets("mlp", LAYERS, WIDTH, dict.fromkeys(NAMES, ()))
        found = gathered(arrays, labels, empty, trainer=trainer, folder=tmp_path / "probes")
        accuracy[name] = found.controls["all_neurons"].mean
    assert len(trained) == 3
    assert accuracy["again"] == accuracy["first"] > 0.8
    assert accuracy["other"] != accuracy["first"]
    assert accuracy["chance"] < 0.5


def mapped(arrays: dict[Split, dict[int, np.ndarray]], folder: Path) -> dict[Split, dict[int, np.ndarray]]:
    """The arrays as memory-mapped files, written once."""
    folder.mkdir(exist_ok=True)
    found: dict[Split, dict[int, np.ndarray]] = {}
    for split, layers in arrays.items():
        for layer, values in layers.items():
            path = folder / f"{split}.{layer}.npy"
            if not path.exists():
                np.save(path, values)
            found.setdefault(split, {})[layer] = np.load(path, mmap_mode="r")
    return found


def test_cached_results_are_those_of_training(tmp_path: Path) -> None:
    """A second run trains the probes of the key neurons and of single tags only."""
    arrays, labels = planted()
    arrays = mapped(arrays, tmp_path / "activations")
    more = {"one": Columns(((7,),)), "noise": OwnFeatures()}
    first, again = (gathered(arrays, labels, folder=tmp_path / "probes", more=more) for _ in range(2))
    assert len(list((tmp_path / "probes").iterdir())) == len({"random", "all_neurons", "task", "one", "noise"})
    assert again.metrics() == first.metrics()
    assert first.metrics() == pytest.approx(gathered(arrays, labels, more=more).metrics())


@dataclass(frozen=True)
class OwnFeatures:
    """A control with two features of noise."""

    label: ClassVar[str] = "noise"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        return 0

    def __call__(self, case: Case) -> Trial:
        rng = np.random.default_rng(0)
        features = {
            split: torch.from_numpy(rng.normal(size=(len(words.rows), 2)))
            for split, words in case.labels.splits.items()
        }
        return Trial(np.array([[0, 1]]), features=features)


@dataclass(frozen=True)
class MostVariable:
    """A user-defined control: as many neurons as key neurons, those of highest variance."""

    label: ClassVar[str] = "neurons of highest variance"
    contrast: ClassVar[str | None] = "probe/beyond_variance"
    role: ClassVar[ControlRole | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        return n_key

    def __call__(self, case: Case) -> Trial:
        values = case.activations.columns(case.labels, np.arange(case.n_neurons))["train"].float()
        strongest = values.var(dim=0).argsort(descending=True)[: len(case.union)]
        return Trial(np.sort(strongest.numpy())[None])


def test_a_control_of_ones_own_is_measured_and_told_like_the_others() -> None:
    arrays, labels = planted()
    found = gathered(arrays, labels, more={"variance": MostVariable()})
    m = found.metrics()
    spread = np.concatenate([arrays["train"][layer][labels.splits["train"].rows] for layer in LAYERS], axis=1)
    highest = np.sort(np.argsort(-spread.astype(float).var(axis=0))[:3])
    alone = gathered(arrays, labels, of_columns(highest), without=list(CONTROLS))
    assert alone.key_neurons is not None
    assert m["control/variance/test_accuracy"] == pytest.approx(alone.key_neurons.scores.accuracy)
    assert m["probe/beyond_variance"] == pytest.approx(m["probe/test_accuracy"] - m["control/variance/test_accuracy"])
    assert m["probe/beyond_variance_low"] <= m["probe/beyond_variance"] <= m["probe/beyond_variance_high"]
    assert "control/variance/z" not in m  # a single draw has no distribution
    assert found.controls["variance"].label == "neurons of highest variance"
    others = gathered(arrays, labels).metrics()
    assert {name: m[name] for name in others} == pytest.approx(others)


def of_columns(columns: np.ndarray) -> NeuronSets:
    """The same neurons for every tag."""
    own = tuple(KeyNeuron(LAYERS[c // WIDTH], int(c % WIDTH), 1.0) for c in columns)
    return NeuronSets("mlp", LAYERS, WIDTH, dict.fromkeys(NAMES, own))


def test_controls_of_other_sizes_are_measured_too() -> None:
    arrays, labels = planted()
    two = gathered(arrays, labels, more={"two": Columns(((0, 1), (2, 3))), "one": Columns(((7,),))})
    assert two.controls["two"].accuracy.shape == (2,)
    alone = gathered(arrays, labels, of_columns(np.array([7])), without=list(CONTROLS))
    assert alone.key_neurons is not None
    assert two.controls["one"].mean == pytest.approx(alone.key_neurons.scores.accuracy)


@dataclass(frozen=True)
class Columns:
    """A control on given neurons."""

    label: ClassVar[str] = "given neurons"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = None

    columns: tuple[tuple[int, ...], ...]

    def reads(self, n_key: int, n_neurons: int) -> int:
        return sum(map(len, self.columns))

    def __call__(self, case: Case) -> Trial:
        return Trial(np.array(self.columns))


@dataclass(frozen=True)
class Several:
    """A control with trials of its own features, of different sizes, and facts."""

    label: ClassVar[str] = "sums of neurons"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        return 3

    def __call__(self, case: Case) -> tuple[Trial, ...]:
        values = case.activations.columns(case.labels, case.union)
        facts, trials = {"features": 2.0}, []
        for some in ([0, 1, 2], [0]):
            features = {split: 2 * own[:, some].float() + 1 for split, own in values.items()}
            trials.append(Trial(np.arange(len(some))[None], features=features, facts=facts, note="(3, 1)"))
        return tuple(trials)


def test_trials_may_have_features_of_their_own() -> None:
    """The probe standardises, so shifted and scaled activations give the same predictions."""
    arrays, labels = planted()
    found = gathered(arrays, labels, without=list(CONTROLS), more={"several": Several()})
    alone = gathered(arrays, labels, of_columns(np.array([7])), without=list(CONTROLS))
    assert found.key_neurons is not None
    assert alone.key_neurons is not None
    expected = [found.key_neurons.scores.accuracy, alone.key_neurons.scores.accuracy]
    assert found.controls["several"].accuracy == pytest.approx(expected, abs=0.01)
    assert found.controls["several"].note == "(3, 1)"
    m = found.metrics()
    assert m["control/several/features"] == 2
    assert m["control/several/difference"] == pytest.approx(expected[0] - np.mean(expected), abs=0.01)


@dataclass(frozen=True)
class Never:
    """A control that cannot be measured."""

    label: ClassVar[str] = "nothing"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = "form"

    def reads(self, n_key: int, n_neurons: int) -> int:
        return 0

    def __call__(self, case: Case) -> Trial:
        raise NotApplicable("there is nothing to measure")


def test_a_control_that_cannot_be_measured_is_left_out_with_its_reason() -> None:
    found = gathered(*planted(), without=list(CONTROLS), more={"never": Never(), "majority": Majority()})
    assert list(found.controls) == ["majority"]
    assert found.skipped == {"never": "nothing: there is nothing to measure"}
    assert not any("never" in name for name in found.metrics())


def test_a_trial_is_one_thing() -> None:
    for wrong in ({}, {"columns": np.zeros((1, 1), dtype=int), "predictions": np.zeros(3, dtype=int)}):
        with pytest.raises(ValueError, match="exactly one of the two"):
            Trial(**wrong)


def test_not_every_draw_is_a_baseline() -> None:
    columns = np.zeros((2, 1), dtype=int)
    assert Trial(columns, baselines=1).draws == 2
    for wrong in (2, -1):
        with pytest.raises(ValueError, match=f"baselines must be fewer than the 2 draws, got {wrong}"):
            Trial(columns, baselines=wrong)
