"""Tests of whether a tag is a direction or a region in the activations of some neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from keyneurons.analysis.controls import empirical_p_value

LEAST = {"train": 2, "held-out": 1}  # minimum number of words with a tag and of words without it


@dataclass(frozen=True)
class ConceptTest:
    """Held-out accuracy of classifying words as tag or other, and its permutation test.

    ``accuracy`` is on a balanced sample, so chance is .5; ``null_mean`` is the mean accuracy under
    permutation.
    """

    accuracy: float
    null_mean: float
    p_value: float


@dataclass(frozen=True)
class Concepts:
    """Tags as directions (CAV) and as regions (CAR), in the order of ``tags``.

    ``cosine`` is between the CAVs of each pair of tags. ``words`` is the number of words of each
    tag in the balanced train and held-out samples, which have as many other words.
    """

    tags: tuple[str, ...]
    direction: Mapping[str, ConceptTest]
    region: Mapping[str, ConceptTest]
    cosine: Float[ndarray, "tags tags"]
    words: Mapping[str, tuple[int, int]]


def concepts(
    train: Float[ndarray, "words features"],
    train_tags: Int[ndarray, " words"],
    test: Float[ndarray, "test_words features"],
    test_tags: Int[ndarray, " test_words"],
    names: Sequence[str],
    *,
    words: int,
    draws: int,
    seed: int,
) -> Concepts:
    """Classify the words of each tag against others with a linear SVM and one with an RBF kernel.

    The linear SVM is the concept activation vector (CAV, Kim et al. 2018, arXiv:1711.11279), the
    other the concept activation region (CAR, Crabbe & van der Schaar 2022, arXiv:2209.11222).
    Features are standardised over all training words and divided by sqrt(dim), with dim the number
    of features that vary in train, so that both kernels are of order 1: ``x . y / dim``, and
    ``exp(-sum((d / (dim * width))^2))`` with ``width = dim^-0.5``, that is ``exp(-|d|^2 / dim)``,
    which is scikit-learn's ``gamma="scale"`` for standardised features. With the same C=1, words
    and permutations the two SVMs then differ only in the kernel; with ``x . y`` the same C would
    barely regularise the linear SVM.

    Words are drawn without replacement, as many with the tag as without it. The test permutes the
    labels of the sampled train and held-out words, refits and re-evaluates (one-sided). If held-out
    labels were not permuted, a fit to noise along the axis between two clusters would classify them
    correctly half the time. The test assumes independent words and ignores the frequency of the
    tag. The sample of a tag depends on the seed and its name, not on other names.

    Args:
        train: Activations of the words to fit on.
        train_tags: Their tags, indices into ``names``.
        test: Activations of the held-out words.
        test_tags: Their tags.
        names: The names of the tags.
        words: Maximum number of words of a tag, and of other words, in each sample.
        draws: Number of permutations.
        seed: Seed of samples and permutations.

    Returns:
        Held-out accuracies, their p-values, and the cosines between the tags' CAVs.

    Raises:
        ValueError: If ``words``, ``draws`` or a tag is out of range, names repeat, an activation is
            not finite, no feature varies, or a tag has too few words or no direction.
    """
    if words < 2:
        raise ValueError(f"words must be at least 2, got {words}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if len(set(names)) != len(names):
        raise ValueError(f"names must be distinct, got {list(names)}")
    _check(train, train_tags, len(names), "train")
    _check(test, test_tags, len(names), "held-out")
    scaling = _scaling(train)
    direction, region, vectors, sizes = {}, {}, [], {}
    for tag, name in enumerate(names):
        rows = balanced_rows(train_tags == tag, words, name, "train", seed)
        held_out_rows = balanced_rows(test_tags == tag, words, name, "held-out", seed)
        x, held_out = scaling(train[rows]), scaling(test[held_out_rows])
        fits, truths = [_half(len(x))], [_half(len(held_out))]
        for i in range(draws):
            rng = _generator(seed, name, i)
            fits.append(rng.permutation(fits[0]))
            truths.append(rng.permutation(truths[0]))
        direction[name], weights = _test(x @ x.T, held_out @ x.T, fits, truths)
        region[name], _ = _test(_rbf(x, x), _rbf(held_out, x), fits, truths)
        vectors.append(weights @ (x - x[0]))  # the weights sum to 0: identical words give exactly 0
        sizes[name] = len(x) // 2, len(held_out) // 2
    return Concepts(tuple(names), direction, region, _cosine(np.array(vectors), names), sizes)


def balanced_rows(
    is_tag: Bool[ndarray, " words"], words: int, name: str, split: str, seed: int
) -> Int[ndarray, " drawn"]:
    """Draw up to ``words`` words of a tag and as many others.

    Returns:
        Their rows, the words of the tag first.

    Raises:
        ValueError: If there are too few words of the tag or too few others.
    """
    sides = np.flatnonzero(is_tag), np.flatnonzero(~is_tag)
    if min(map(len, sides)) < LEAST[split]:
        raise ValueError(
            f"tag {name} needs at least {LEAST[split]} {split} words with it and as many without, "
            f"got {len(sides[0])} and {len(sides[1])}"
        )
    rng = _generator(seed, name, split)
    size = min(words, *map(len, sides))
    return np.concatenate([rng.choice(side, size, replace=False) for side in sides])


def _check(values: Float[ndarray, "words features"], tags: Int[ndarray, " words"], n_tags: int, split: str) -> None:
    if len(values) != len(tags):
        raise ValueError(f"every {split} word needs a tag, got {len(values)} words and {len(tags)} tags")
    if not len(values):
        raise ValueError(f"a concept needs {split} words, got 0")
    if not np.isfinite(values).all():
        raise ValueError(f"{split} activations must be finite, got {(~np.isfinite(values)).sum()} that are not")
    if not 0 <= tags.min() <= tags.max() < n_tags:
        raise ValueError(f"{split} tags must lie in 0..{n_tags - 1}, got {tags.min()}..{tags.max()}")


def _scaling(train: Float[ndarray, "words features"]) -> Callable[[ndarray], Float[ndarray, "words varying"]]:
    # standardises the varying features and divides them by the square root of their number
    first = train[:1].astype(np.float64)
    shifted = train - first  # constant features become exactly 0
    deviation = shifted.std(axis=0)
    varies = deviation > 0
    if not varies.any():
        raise ValueError(f"a concept needs a feature that varies in train, got {train.shape[1]} constant ones")
    mean = (first[0] + shifted.mean(axis=0))[varies]
    divisor = deviation[varies] * np.sqrt(np.count_nonzero(varies))
    return lambda values: (values[:, varies].astype(np.float64) - mean) / divisor


def _generator(seed: int, name: str, part: str | int) -> np.random.Generator:
    digest = blake2b(f"{seed}\0{name}\0{part}".encode(), digest_size=16).digest()  # independent of the process
    return np.random.default_rng(int.from_bytes(digest))


def _half(size: int) -> Bool[ndarray, " drawn"]:
    return np.arange(size) < size // 2


def _rbf(a: Float[ndarray, "a features"], b: Float[ndarray, "b features"]) -> Float[ndarray, "a b"]:
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
    kernel: ndarray = np.exp(-squares.clip(min=0))  # rounding can fall below 0
    return kernel


def _test(
    gram: Float[ndarray, "drawn drawn"],
    held_out: Float[ndarray, "judged drawn"],
    fits: Sequence[Bool[ndarray, " drawn"]],
    truths: Sequence[Bool[ndarray, " judged"]],
) -> tuple[ConceptTest, Float[ndarray, " drawn"]]:
    """Compare the first labelling with the others; also return its signed SVM weights alpha y.

    Each labelling is fitted on the sampled words (``fits``) and evaluated on the held-out words
    (``truths``).
    """
    from sklearn.svm import SVC

    weights, shifts = np.zeros((len(fits), len(gram))), np.empty(len(fits))
    for i, labels in enumerate(fits):
        svm = SVC(kernel="precomputed", C=1.0).fit(gram, labels)
        weights[i, svm.support_], shifts[i] = svm.dual_coef_[0], svm.intercept_[0]
    says_tag = held_out @ weights.T + shifts > 0
    accuracies = (says_tag == np.stack(truths, axis=1)).mean(axis=0)
    accuracy, null = float(accuracies[0]), accuracies[1:]
    return ConceptTest(accuracy, float(null.mean()), empirical_p_value(accuracy, null)), weights[0]


def _cosine(vectors: Float[ndarray, "tags features"], names: Sequence[str]) -> Float[ndarray, "tags tags"]:
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / np.where(lengths > 0, lengths, np.nan)[:, None]
    cosine: ndarray = np.clip(units @ units.T, -1.0, 1.0)  # rounding can exceed 1
    np.fill_diagonal(cosine, 1.0)
    return cosine
