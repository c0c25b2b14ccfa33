"""Controls: the same measurement with matched neurons or tags that should show no effect."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def matched_random_sets(
    columns: list[int], neurons_per_layer: int, n_layers: int, n_sets: int, seed: int, *, without: bool = False
) -> Int[ndarray, "sets neurons"]:
    """Draw random sets with as many neurons in every layer as the given set.

    Columns are positions among the neurons of all layers, concatenated. Draws are from all neurons
    of a layer, so a random set may include neurons of the given set, unless ``without`` excludes
    them. Sets match in size and layer, not in variance or frequency.

    Returns:
        The columns of each set, ascending and without duplicates.

    Raises:
        ValueError: If a column is out of range or repeated, ``n_sets`` is below 1, or a layer has
            too few other neurons.
    """
    n_neurons = neurons_per_layer * n_layers
    if len(set(columns)) != len(columns) or not all(0 <= column < n_neurons for column in columns):
        raise ValueError(f"columns must be distinct and lie in 0..{n_neurons - 1}, got {sorted(columns)}")
    if n_sets < 1:
        raise ValueError(f"n_sets must be at least 1, got {n_sets}")
    rng = np.random.default_rng(seed)
    own = np.array(columns, dtype=np.int64)
    sizes = np.bincount(own // neurons_per_layer, minlength=n_layers)
    pools = np.arange(n_neurons).reshape(n_layers, neurons_per_layer)
    drawn_from = [np.setdiff1d(pool, own) if without else pool for pool in pools]
    for layer, (pool, size) in enumerate(zip(drawn_from, sizes, strict=True)):
        if len(pool) < size:
            raise ValueError(f"layer {layer} needs {size} other neurons, got {len(pool)}")
    sets = np.empty((n_sets, len(columns)), dtype=np.int64)
    for row in sets:
        drawn = [rng.choice(pool, size, replace=False) for pool, size in zip(drawn_from, sizes, strict=True)]
        row[:] = np.sort(np.concatenate(drawn))
    return sets


def lowest_sets(
    columns: Sequence[int], magnitudes: Float[ndarray, " neurons"], neurons_per_layer: int, n_sets: int, seed: int
) -> Int[ndarray, "sets own"]:
    """Draw sets from the lowest-ranked tenth of each layer, matched in size by layer.

    The pool is extended to twice the required number of neurons if a tenth of the layer has fewer.
    Ties of the magnitudes go to the lower column.

    Returns:
        The columns of each set, ascending and without duplicates; they exclude the given set.

    Raises:
        ValueError: If a column is out of range or repeated, ``n_sets`` is below 1, or a layer has
            too few other neurons.
    """
    n_layers, rest = divmod(len(magnitudes), neurons_per_layer)
    if rest or len(set(columns)) != len(columns) or not all(0 <= column < len(magnitudes) for column in columns):
        raise ValueError(f"columns must be distinct and lie in 0..{len(magnitudes) - 1}, got {sorted(columns)}")
    if n_sets < 1:
        raise ValueError(f"n_sets must be at least 1, got {n_sets}")
    own = np.array(sorted(columns), dtype=np.int64)
    pools = []
    for layer in range(n_layers):
        size = int((own // neurons_per_layer == layer).sum())
        order = np.argsort(magnitudes[layer * neurons_per_layer :][:neurons_per_layer], kind="stable")
        others = order[~np.isin(order + layer * neurons_per_layer, own)] + layer * neurons_per_layer
        if len(others) < size:
            raise ValueError(f"layer {layer} needs {size} other neurons, got {len(others)}")
        pools.append((others[: max(neurons_per_layer // 10, 2 * size)], size))
    rng = np.random.default_rng(seed)
    sets = [np.concatenate([rng.choice(pool, size, replace=False) for pool, size in pools]) for _ in range(n_sets)]
    return np.sort(np.stack(sets), axis=1)


def majority_tag(train_tags: Int[ndarray, " words"]) -> int:
    """The most frequent tag in train, the majority baseline.

    Returns:
        The tag; ties go to the lower index.

    Raises:
        ValueError: If there are no words.
    """
    if not len(train_tags):
        raise ValueError("a majority needs at least 1 word, got 0")
    return int(np.bincount(train_tags).argmax())


def word_type_predictions(
    train_forms: Sequence[str], train_tags: Int[ndarray, " train_words"], forms: Sequence[str], n_tags: int
) -> Int[ndarray, " words"]:
    """Predict tags from the word form alone.

    Returns:
        The most frequent tag of each form in train, ties to the lower index; the majority tag for
        unseen forms.

    Raises:
        ValueError: If train has no words, or the numbers of forms and tags differ.
    """
    if len(train_forms) != len(train_tags):
        raise ValueError(f"every train word needs a tag, got {len(train_forms)} forms and {len(train_tags)} tags")
    majority = majority_tag(train_tags)
    number = {form: i for i, form in enumerate(dict.fromkeys(train_forms))}
    counts = np.zeros((len(number), n_tags), dtype=np.int64)
    np.add.at(counts, (np.array([number[form] for form in train_forms]), train_tags), 1)
    best = counts.argmax(axis=1)
    return np.array([best[number[form]] if form in number else majority for form in forms], dtype=np.int64)


def control_task_tags(
    forms_by_split: Sequence[Sequence[str]], train_tags: Int[ndarray, " train_words"], n_tags: int, seed: int
) -> list[Int[ndarray, " words"]]:
    """Assign each word type one random tag: the control task of Hewitt & Liang 2019.

    The tag of a type is drawn from the tag distribution of the training words (arXiv:1909.03368).
    It depends only on the seed and the form, so it is the same in all splits, independent of word
    order and of other words. The draw ignores the frequency of types, so the tag distribution over
    words matches in expectation only.

    Returns:
        The tags of the words, by split.

    Raises:
        ValueError: If train has no words.
    """
    if not len(train_tags):
        raise ValueError("a control task needs at least 1 train word, got 0")
    edges = np.bincount(train_tags, minlength=n_tags).cumsum() / len(train_tags)
    types = {form for forms in forms_by_split for form in forms}
    tag_of = {form: int(np.searchsorted(edges, _uniform(form, seed), side="right")) for form in types}
    return [np.array([tag_of[form] for form in forms], dtype=np.int64) for forms in forms_by_split]


def empirical_p_value(observed: float, control: Float[ndarray, " draws"]) -> float:
    """One-sided p-value among control draws: ``(1 + # at least as high) / (1 + n)``.

    The observed value counts as a draw (Phipson & Smyth 2010), so the minimum is ``1 / (1 + n)``:
    .167 with 5 draws.

    Returns:
        The p-value.

    Raises:
        ValueError: If there are no draws or a value is not finite.
    """
    if not control.size or not np.isfinite([observed, *control]).all():
        raise ValueError(f"an empirical p-value needs at least 1 draw and finite values, got {observed} and {control}")
    return (1 + int((control >= observed).sum())) / (1 + control.size)


def _uniform(form: str, seed: int) -> float:
    """A number in 0..1 (1 excluded), identical on every machine and in every process."""
    digest = blake2b(f"{seed}\0{form}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53
