"""The same measurement on something matched that should not carry the effect."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def matched_random_sets(
    columns: list[int], neurons_per_layer: int, n_layers: int, n_sets: int, seed: int
) -> Int[ndarray, "sets neurons"]:
    """Draw random sets with as many neurons in every layer as the given one.

    Columns are positions among all neurons, the layers side by side. The draw is from all neurons of a layer, so a
    random set may hold neurons of the given one: it is matched in size and layer, not in variance or frequency.

    Returns:
        The columns of each set, ascending and each once.

    Raises:
        ValueError: If a column is out of range or stands twice, or ``n_sets`` is below 1.
    """
    n_neurons = neurons_per_layer * n_layers
    if len(set(columns)) != len(columns) or not all(0 <= column < n_neurons for column in columns):
        raise ValueError(f"columns must be different and lie in 0..{n_neurons - 1}, got {sorted(columns)}")
    if n_sets < 1:
        raise ValueError(f"n_sets must be at least 1, got {n_sets}")
    rng = np.random.default_rng(seed)
    per_layer = np.bincount(np.array(columns, dtype=np.int64) // neurons_per_layer, minlength=n_layers)
    sets = np.empty((n_sets, len(columns)), dtype=np.int64)
    for row in sets:
        drawn = [
            layer * neurons_per_layer + rng.choice(neurons_per_layer, size=size, replace=False)
            for layer, size in enumerate(per_layer)
        ]
        row[:] = np.sort(np.concatenate(drawn))
    return sets


def lowest_sets(
    columns: Sequence[int], magnitudes: Float[ndarray, " neurons"], neurons_per_layer: int, n_sets: int, seed: int
) -> Int[ndarray, "sets own"]:
    """Draw sets from the lowest ranked tenth of each layer, with as many neurons in every layer as the given one.

    A layer from which more neurons are wanted than a tenth has gives its lowest ranked ones, twice as many as wanted.
    Ties of the magnitudes go to the lower column.

    Returns:
        The columns of each set, ascending and each once; no neuron of the given set is among them.

    Raises:
        ValueError: If a column is out of range or stands twice, ``n_sets`` is below 1, or a layer has too few others.
    """
    n_layers, rest = divmod(len(magnitudes), neurons_per_layer)
    if rest or len(set(columns)) != len(columns) or not all(0 <= column < len(magnitudes) for column in columns):
        raise ValueError(f"columns must be different and lie in 0..{len(magnitudes) - 1}, got {sorted(columns)}")
    if n_sets < 1:
        raise ValueError(f"n_sets must be at least 1, got {n_sets}")
    own = np.array(sorted(columns), dtype=np.int64)
    pools = []
    for layer in range(n_layers):
        wanted = int((own // neurons_per_layer == layer).sum())
        order = np.argsort(magnitudes[layer * neurons_per_layer :][:neurons_per_layer], kind="stable")
        others = order[~np.isin(order + layer * neurons_per_layer, own)] + layer * neurons_per_layer
        if len(others) < wanted:
            raise ValueError(f"layer {layer} has {len(others)} other neurons, {wanted} are wanted")
        pools.append((others[: max(neurons_per_layer // 10, 2 * wanted)], wanted))
    rng = np.random.default_rng(seed)
    sets = [np.concatenate([rng.choice(pool, wanted, replace=False) for pool, wanted in pools]) for _ in range(n_sets)]
    return np.sort(np.stack(sets), axis=1)


def majority_tag(train_tags: Int[ndarray, " words"]) -> int:
    """Find the tag that a blind guess should name.

    Returns:
        The most frequent tag, ties to the lower index.

    Raises:
        ValueError: If there is no word.
    """
    if not len(train_tags):
        raise ValueError("a majority needs at least 1 word, got 0")
    return int(np.bincount(train_tags).argmax())


def word_type_predictions(
    train_forms: Sequence[str], train_tags: Int[ndarray, " train_words"], forms: Sequence[str], n_tags: int
) -> Int[ndarray, " words"]:
    """Predict tags from the word form alone.

    Returns:
        The most frequent tag of each form in train, ties to the lower index; the majority tag for a form not there.

    Raises:
        ValueError: If train has no word, or not as many forms as tags.
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
    """Give each word type one random tag: the control task of Hewitt & Liang 2019 (arXiv:1909.03368).

    A type's tag is drawn from the tag distribution of the train words. It is a function of the seed and the form
    alone, so it is the same in all splits and does not depend on order or on which other words there are. Types are
    drawn alike whatever their frequency, so the tag distribution over words matches in expectation only.

    Returns:
        The tags of the words, split by split.

    Raises:
        ValueError: If train has no word.
    """
    if not len(train_tags):
        raise ValueError("a control task needs at least 1 train word, got 0")
    edges = np.bincount(train_tags, minlength=n_tags).cumsum() / len(train_tags)
    types = {form for forms in forms_by_split for form in forms}
    tag_of = {form: int(np.searchsorted(edges, _uniform(form, seed), side="right")) for form in types}
    return [np.array([tag_of[form] for form in forms], dtype=np.int64) for forms in forms_by_split]


def empirical_p_value(observed: float, control: Float[ndarray, " draws"]) -> float:
    """Compare an observed value with draws of its control, one-sided: ``(1 + # at least as high) / (1 + n)``.

    The observed value counts as a draw (Phipson & Smyth 2010), so the least is ``1 / (1 + n)``: .167 with 5 draws.

    Returns:
        The p-value.

    Raises:
        ValueError: If there is no draw or a value is not finite.
    """
    if not control.size or not np.isfinite([observed, *control]).all():
        raise ValueError(f"an empirical p-value needs at least 1 draw and finite values, got {observed} and {control}")
    return (1 + int((control >= observed).sum())) / (1 + control.size)


def _uniform(form: str, seed: int) -> float:
    """A number in 0..1 (1 excluded), the same on every machine and in every process."""
    digest = blake2b(f"{seed}\0{form}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53
