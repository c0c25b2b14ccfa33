"""The regression on word forms against scikit-learn's pipeline, planted suffixes and chance."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from keyneurons.analysis.controls import majority_tag, word_type_predictions
from keyneurons.analysis.word_form import PENALTIES, form_features, shape, word_form_predictions
from keyneurons.records import SPLITS, Split

Words = tuple[dict[Split, list[str]], dict[Split, np.ndarray]]
SUFFIXES = ("ing", "ed", "ly", "s")
LETTERS = np.array(list("abcdefghijklmnoprtuvw"))
SIZES: dict[Split, int] = {"train": 600, "dev": 250, "test": 250}


def words(tag_of: Callable[[np.random.Generator, int], int], seed: int = 0) -> Words:
    """Random stems with one of four suffixes; the tag follows from the number of the suffix."""
    rng = np.random.default_rng(seed)
    stems = ["".join(rng.choice(LETTERS, rng.integers(2, 6))) for _ in range(300)]
    forms: dict[Split, list[str]] = {}
    tags: dict[Split, np.ndarray] = {}
    for split, n in SIZES.items():
        suffix = rng.integers(4, size=n)
        forms[split] = [stems[rng.integers(300)] + SUFFIXES[i] for i in suffix]
        forms[split] = [form.capitalize() if rng.random() < 0.1 else form for form in forms[split]]
        tags[split] = np.array([tag_of(rng, i) for i in suffix])
    return forms, tags


def planted(rng: np.random.Generator, suffix: int) -> int:
    """The tag of a suffix in nine of ten words, else a random one."""
    return suffix % 3 if rng.random() < 0.9 else int(rng.integers(3))


def accuracy(found: Words) -> float:
    forms, tags = found
    return float((word_form_predictions(forms, tags, 3) == tags["test"]).mean())


def independent_features(form: str) -> list[str]:
    """The features written a second time, by regular expressions and slices."""
    low = form.lower()
    affixes = [kind + part for n in range(1, 5) if len(low) >= n for kind, part in (("<", low[:n]), (">", low[-n:]))]
    signs = re.sub(r"\d", "9", re.sub(r"[a-z]", "b", re.sub(r"[A-Z]", "B", form)))
    signs = re.sub(r"(.)\1+", r"\1\1", signs)
    case = (form[:1] != low[:1], form != low, form == form.upper() != low)
    return [*affixes, f"={low}", f"/{signs}", f"{min(12, len(form))} long", f"case {case}", f"{'9' in signs} digit"]


@pytest.mark.parametrize("seed", [0, 1])
def test_accuracy_is_that_of_a_pipeline_of_scikit_learn(seed: int) -> None:
    """One row per word, converged, counted features; ours is weighted, hashed and cut short."""
    forms, tags = words(planted, seed)
    best, expected = np.inf, 0.0
    for C in PENALTIES:
        pipeline = make_pipeline(CountVectorizer(analyzer=independent_features), LogisticRegression(C=C, max_iter=2000))
        pipeline.fit(forms["train"], tags["train"])
        if (loss := log_loss(tags["dev"], pipeline.predict_proba(forms["dev"]))) < best:
            best, expected = loss, pipeline.score(forms["test"], tags["test"])
    assert accuracy((forms, tags)) == pytest.approx(expected, abs=0.0121)  # 3 of 250 words
    assert expected > 0.8


def test_suffixes_tell_the_tags_of_words_that_train_lacks() -> None:
    forms, tags = words(planted)
    unseen = np.array([form.lower() not in {f.lower() for f in forms["train"]} for form in forms["test"]])
    assert unseen.sum() > 50
    by_form = word_form_predictions(forms, tags, 3) == tags["test"]
    low = {split: [form.lower() for form in forms[split]] for split in SPLITS}
    by_type = word_type_predictions(low["train"], tags["train"], low["test"], 3) == tags["test"]
    assert by_form[unseen].mean() > 0.85
    assert by_form[unseen].mean() > by_type[unseen].mean() + 0.3
    assert by_form.mean() > by_type.mean()


@pytest.mark.parametrize("seed", range(5))
def test_random_tags_leave_the_majority(seed: int) -> None:
    forms, tags = words(lambda rng, _: int(rng.choice(3, p=[0.5, 0.3, 0.2])), seed)
    majority = float((tags["test"] == majority_tag(tags["train"])).mean())
    assert accuracy((forms, tags)) >= majority - 0.04


def test_capitals_and_digits_are_seen() -> None:
    """Names differ from common words by their capital only, and numbers by their digits."""
    rng = np.random.default_rng(0)
    forms: dict[Split, list[str]] = {}
    tags: dict[Split, np.ndarray] = {}
    for split, n in SIZES.items():
        tags[split] = rng.integers(3, size=n)
        stems = ["".join(rng.choice(LETTERS, 5)) for _ in range(n)]
        numbers = [str(rng.integers(10_000)) for _ in range(n)]
        forms[split] = [
            (stem, stem.capitalize(), number)[tag]
            for stem, number, tag in zip(stems, numbers, tags[split], strict=True)
        ]
    assert accuracy((forms, tags)) > 0.98


def test_features_by_hand() -> None:
    assert list(form_features("Ab1")) == [
        *("prefix a", "suffix 1", "prefix ab", "suffix b1", "prefix ab1", "suffix ab1"),
        *("form ab1", "shape Xxd", "length 3", "capitals 110", "digits 1"),
    ]
    shapes = {"Word": "Xxx", "USA": "XX", "12.345": "dd.dd", "don't": "xx'x", "...": "..", "McX": "XxX", "": ""}
    assert {form: shape(form) for form in shapes} == shapes


def test_a_single_tag_is_predicted() -> None:
    forms: dict[Split, list[str]] = {split: ["one", "two"] for split in SPLITS}
    ones = np.ones(2, dtype=int)
    assert word_form_predictions(forms, {"train": ones, "dev": ones}, 3).tolist() == [1, 1]


def test_tags_that_train_lacks_are_never_predicted() -> None:
    forms: dict[Split, list[str]] = {split: ["one", "two", "six"] for split in SPLITS}
    tags: dict[Split, np.ndarray] = {"train": np.array([0, 2, 2]), "dev": np.array([1, 1, 2])}
    assert 1 not in word_form_predictions(forms, tags, 3)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_no_words_are_an_error(split: Split) -> None:
    forms, tags = words(planted)
    with pytest.raises(ValueError, match=f"at least 1 word in {split}, got 0"):
        word_form_predictions({**forms, split: []}, {**tags, split: np.zeros(0, dtype=int)}, 3)
