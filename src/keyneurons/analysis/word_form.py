"""Prediction of tags from the form of a word alone: logistic regression on affixes and shape."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.records import Split

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

AFFIX_LENGTHS = (1, 2, 3, 4)
LONGEST = 12  # longer words share the feature of their length
HASHED = 2**20  # columns; few of the 80,000 features of the whole EWT share one
PENALTIES = (0.01, 0.1, 1.0, 10.0)  # inverse penalties, C of scikit-learn
MAX_ITERATIONS = 50  # per penalty; each fit starts from the previous one


def form_features(form: str) -> Iterator[str]:
    """The binary features of a form: affixes, the form, its shape, digits, capitals, its length.

    Affixes and the form itself are in lower case; only shape and capitals see the case.
    """
    lower = form.lower()
    for n in AFFIX_LENGTHS:
        if n <= len(lower):
            yield f"prefix {lower[:n]}"
            yield f"suffix {lower[-n:]}"
    yield f"form {lower}"
    yield f"shape {shape(form)}"
    yield f"length {min(len(form), LONGEST)}"
    yield f"capitals {form[:1].isupper():d}{form != lower:d}{form.isupper():d}"
    yield f"digits {any(c.isdigit() for c in form):d}"


def shape(form: str) -> str:
    """X for capitals, x for other letters, d for digits, other characters as they are.

    Runs of the same symbol are cut to two: ``Xxx`` for *Word*, ``XX`` for *USA*, ``dd.dd`` for
    *12.345*.
    """
    symbols = ("X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in form)
    return "".join(symbol * min(2, len(list(run))) for symbol, run in groupby(symbols))


def word_form_predictions(
    forms: Mapping[Split, Sequence[str]], tags: Mapping[Split, Int[ndarray, " _words"]], n_tags: int
) -> Int[ndarray, " test_words"]:
    """Predict the tags of the test words from their forms by multinomial logistic regression.

    The regression is fitted on train with an L2 penalty. The penalty is weakened from an infinite
    one, which predicts the majority, along ``PENALTIES`` as long as the cross-entropy on dev falls.
    Words of equal form and tag are one weighted row, which leaves the objective as it is.

    Args:
        forms: The forms as written, of every split.
        tags: Tags of the train and dev words.
        n_tags: Number of tags.

    Returns:
        The predicted tags; the majority tag if the forms tell nothing about the tags of dev.

    Raises:
        ValueError: Train or dev has no words.
    """
    for split in ("train", "dev"):
        if not len(tags[split]):
            raise ValueError(f"the word form needs at least 1 word in {split}, got 0")
    number = {form: i for i, form in enumerate(sorted({form for some in forms.values() for form in some}))}
    rows = {split: np.array([number[form] for form in some], dtype=np.int64) for split, some in forms.items()}
    shares = np.bincount(tags["train"], minlength=n_tags) / len(tags["train"])
    best = np.tile(shares, (len(number), 1))
    for probabilities in _regularisation_path(_hashed(list(number)), rows["train"], tags["train"], n_tags):
        if _loss(probabilities[rows["dev"]], tags["dev"]) >= _loss(best[rows["dev"]], tags["dev"]):
            break
        best = probabilities
    predicted: ndarray = best[rows["test"]].argmax(axis=1)
    return predicted


def _regularisation_path(
    features: csr_matrix, rows: Int[ndarray, " words"], tags: Int[ndarray, " words"], n_tags: int
) -> Iterator[Float[ndarray, "forms tags"]]:
    """The probabilities of every form under the regression on some rows, by falling penalty."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    pairs, counts = np.unique(rows * n_tags + tags, return_counts=True)
    own, classes = np.divmod(pairs, n_tags)
    present = np.unique(classes)
    if len(present) == 1:
        return
    features = features[:, np.unique(features[own].indices)]  # the weight of any other feature is 0
    model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    for C in PENALTIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=C).fit(features[own], classes, sample_weight=counts)
        probabilities = np.zeros((features.shape[0], n_tags))
        probabilities[:, present] = model.predict_proba(features)
        yield probabilities


def _hashed(forms: Sequence[str]) -> csr_matrix:
    from sklearn.feature_extraction import FeatureHasher

    hasher = FeatureHasher(HASHED, input_type="string", alternate_sign=False)
    return hasher.transform(form_features(form) for form in forms)


def _loss(probabilities: Float[ndarray, "words tags"], tags: Int[ndarray, " words"]) -> float:
    own = probabilities[np.arange(len(tags)), tags]
    return -float(np.log(np.maximum(own, np.finfo(float).tiny)).mean())
