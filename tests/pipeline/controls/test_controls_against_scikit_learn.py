"""The accuracy of every control against scikit-learn on the same features and labels.

The dev words are the train words here, so that a probe is taken at the end of its training, near
the optimum that scikit-learn finds. The rest of the difference is convergence: the probe's epoch is
that of lowest cross-entropy, without the penalty. It changes up to 9 of 600 words where classes are
nearly as probable as each other (random sets, random labels); the tolerance is 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from numpy import ndarray
from omegaconf import OmegaConf
from planting import KEY_SETS, LAYERS, SENTENCES, WIDTH, planted, reselection
from sklearn.decomposition import PCA
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keyneurons.analysis.word_form import PENALTIES, form_features
from keyneurons.config.paths import conf_folder
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case, Control, Trial
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import SPLITS, LabelledWords, Labels

C, TOLERANCE = 0.5, 0.02
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
TRAINING = Training(
    ProbeSettings(partial(torch.optim.Adam, lr=0.1), 600, 400, C),
    partial(lightning.Trainer, accelerator="cpu", max_epochs=400, **QUIET),
    0,
)
OPTIONS = sorted(path.stem for path in Path(conf_folder(), "control").glob("*.yaml") if path.stem != "_base")
SMALLER = {"sets": 5}  # of options with random sets


def control_of(option: str) -> Control:
    """The control of an option file, with fewer random sets."""
    node = OmegaConf.to_container(OmegaConf.load(Path(conf_folder(), "control", f"{option}.yaml")))
    assert isinstance(node, dict)
    own = node[option]
    control: Control = instantiate(own | {key: n for key, n in SMALLER.items() if key in own})
    return control


def words() -> Case:
    """Weakly planted neurons; endings of words that tell the tag in two of three words."""
    activations, labels = planted(1.2)
    rng = np.random.default_rng(0)
    splits = {}
    for split in SPLITS:
        own = labels.splits["train" if split == "dev" else split]
        told = np.where(rng.random(600) < 2 / 3, own.tags, rng.integers(3, size=600))
        forms = tuple(f"{chr(97 + word % 26)}{word % 50}{'aiu'[tag]}" for word, tag in enumerate(told))
        splits[split] = LabelledWords(own.rows, own.tags, forms)
    arrays = {split: activations.arrays["train" if split == "dev" else split] for split in SPLITS}
    same, named = StoredActivations(arrays, "mlp"), Labels("upos", labels.names, splits)
    return Case(named, same, KEY_SETS, SENTENCES, 0, reselection(same, named))


@pytest.fixture(scope="module")
def here() -> Case:
    return words()


@pytest.fixture(scope="module")
def evidence(here: Case) -> Evidence:
    controls = {option: control_of(option) for option in OPTIONS}
    return probe_key_neurons(Probing(TRAINING, controls, 0, 50, ResultStore()), here)


def regression(train: ndarray, train_tags: ndarray, test: ndarray, test_tags: ndarray) -> float:
    """Accuracy of standardised logistic regression, converged."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000, tol=1e-8))
    return float(model.fit(train, train_tags).score(test, test_tags))


def side_by_side(here: Case, split: str) -> ndarray:
    by_layer = here.activations.stored().arrays[split]  # type: ignore[index]
    return np.concatenate([by_layer[layer] for layer in LAYERS], axis=1).astype(np.float64)


def trained(here: Case, trial: Trial) -> list[float]:
    """Accuracy of every row of a trial, whose columns, features and tags are taken as they are."""
    assert trial.columns is not None
    accuracies = []
    for row in trial.columns:
        parts = []
        for split in ("train", "test"):
            values = side_by_side(here, split) if trial.features is None else trial.features[split].double().numpy()
            own = here.labels.splits[split].tags if trial.tags is None else trial.tags[split]
            parts += [values[:, row], own]
        accuracies.append(regression(*parts))
    return accuracies


def of_trials(here: Case, option: str) -> list[float]:
    """Accuracy of every draw; of trials with random sets beside them, of the first row."""
    made = control_of(option)(here)
    trials = made if isinstance(made, tuple) else (made,)
    by_trial = [trained(here, trial)[: trial.draws - trial.baselines] for trial in trials]
    return [each for accuracies in by_trial for each in accuracies]


def all_neurons(here: Case) -> float:
    train, test = (here.labels.splits[split].tags for split in ("train", "test"))
    return regression(side_by_side(here, "train"), train, side_by_side(here, "test"), test)


def components(here: Case) -> float:
    """As many components of each layer as it has key neurons: 1 and 3."""
    parts: dict[str, list[ndarray]] = {"train": [], "test": []}
    for layer, n in zip(LAYERS, (1, 3), strict=True):
        arrays = here.activations.stored().arrays
        fitted = make_pipeline(StandardScaler(), PCA(n, svd_solver="full"))
        fitted.fit(arrays["train"][layer].astype(np.float64))
        for split, own in parts.items():
            own.append(fitted.transform(arrays[split][layer].astype(np.float64)))  # type: ignore[index]
    train, test = (here.labels.splits[split].tags for split in ("train", "test"))
    return regression(np.concatenate(parts["train"], axis=1), train, np.concatenate(parts["test"], axis=1), test)


def high_variance(here: Case, excluded: list[int]) -> float:
    values, columns = side_by_side(here, "train"), []
    for place, n in ((0, 1), (1, 3)):
        allowed = [c for c in range(place * WIDTH, (place + 1) * WIDTH) if c not in excluded]
        columns += sorted(allowed, key=lambda c: -values[:, c].var())[:n]
    train, test = (here.labels.splits[split].tags for split in ("train", "test"))
    return regression(values[:, columns], train, side_by_side(here, "test")[:, columns], test)


def form(here: Case) -> float:
    splits = here.labels.splits
    counted = {split: [dict.fromkeys(form_features(f), 1) for f in splits[split].forms] for split in SPLITS}
    losses, scores = [], []
    for own in PENALTIES:
        model = make_pipeline(DictVectorizer(), LogisticRegression(C=own, max_iter=5000))
        model.fit(counted["train"], splits["train"].tags)
        losses.append(log_loss(splits["dev"].tags, model.predict_proba(counted["dev"])))
        scores.append(model.score(counted["test"], splits["test"].tags))
    return float(scores[int(np.argmin(losses))])


def most_frequent(here: Case) -> float:
    train, test = (here.labels.splits[split] for split in ("train", "test"))
    by_type: dict[str, list[int]] = {}
    for each, tag in zip(train.types, train.tags.tolist(), strict=True):
        by_type.setdefault(each, []).append(tag)
    majority = max(range(3), key=train.tags.tolist().count)
    guesses = [max(range(3), key=by_type.get(each, [majority]).count) for each in test.types]
    return float(np.mean(np.array(guesses) == test.tags))


def constant(here: Case) -> float:
    train, test = (here.labels.splits[split].tags.tolist() for split in ("train", "test"))
    return test.count(max(range(3), key=train.count)) / len(test)


EXPECTED: Mapping[str, Callable[[Case], float | list[float]]] = {
    "all_neurons": all_neurons,
    "majority": constant,
    "pca": components,
    "random": partial(of_trials, option="random"),
    "random_rotation": partial(of_trials, option="random_rotation"),
    "reselected_task": partial(of_trials, option="reselected_task"),
    "task": partial(of_trials, option="task"),
    "top_variance": partial(high_variance, excluded=[]),
    "top_variance_without_key": partial(high_variance, excluded=KEY_SETS.union()),
    "word_form": form,
    "word_type": most_frequent,
}


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_accuracy_is_that_of_scikit_learn(option: str, here: Case, evidence: Evidence) -> None:
    assert evidence.controls[option].accuracy == pytest.approx(EXPECTED[option](here), abs=TOLERANCE)


@pytest.mark.slow
def test_the_key_neurons_themselves(here: Case, evidence: Evidence) -> None:
    assert evidence.key_neurons is not None
    (expected,) = trained(here, Trial(here.union[None]))
    assert evidence.key_neurons.scores.accuracy == pytest.approx(expected, abs=TOLERANCE)
    assert 0.5 < expected < 0.9  # away from chance and from the ceiling


@pytest.mark.slow
def test_random_sets_of_reselected_neurons(here: Case, evidence: Evidence) -> None:
    baseline = evidence.controls["reselected_task"].baseline
    assert baseline is not None
    trials = control_of("reselected_task")(here)
    assert isinstance(trials, tuple)
    expected = [trained(here, trial)[1:] for trial in trials]
    assert baseline.mean(axis=2) == pytest.approx(np.array(expected), abs=TOLERANCE)


def test_no_control_lacks_an_oracle() -> None:
    assert sorted(EXPECTED) == OPTIONS
