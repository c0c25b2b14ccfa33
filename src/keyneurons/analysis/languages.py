"""Key neurons of the same tags in several languages, beside random sets and sets of other tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.analysis.consensus import selected_neurons, tally
from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.analysis.overlap import chance_of_at_least, neurons_by_layer
from keyneurons.analysis.set_agreement import check_alike
from keyneurons.analysis.stability import expected_jaccard
from keyneurons.records import KeyNeuron, NeuronSets

PERMUTATIONS = 9999


@dataclass(frozen=True)
class TagPair:
    """The sets of a tag in two languages, beside random sets of the same sizes by layer.

    ``p_value`` is the probability that random sets share at least as many neurons, ``p_adjusted``
    is corrected over all tags and pairs of languages. Jaccard indices are None for two empty sets,
    ``p_adjusted`` where a set is empty.
    """

    tag: str
    first: str
    second: str
    shared: int
    expected: float
    jaccard: float | None
    expected_jaccard: float | None
    p_value: float
    p_adjusted: float | None = None


@dataclass(frozen=True)
class LanguagePair:
    """What two languages share: Jaccard of the sets, mean over the common tags with a set.

    ``same_tag`` is that of the sets of the same tag, ``other_tag`` that of every tag with every
    other one, ``random`` that of random sets of the same sizes. ``p_value`` tests whether sets of
    the same tag share more neurons in all than sets of tags that are paired at random; it is None
    with fewer than two common tags, as are the means without any. ``p_adjusted`` is corrected over
    the pairs.
    """

    first: str
    second: str
    tags: int
    same_tag: float | None
    other_tag: float | None
    random: float | None
    p_value: float | None
    p_adjusted: float | None = None


@dataclass(frozen=True)
class Core:
    """Neurons that at least so many of the languages with a tag select, beside chance.

    ``neurons`` are layer and index, those of most languages first. ``expected`` is their number if
    every language drew a set of its size by layer at random and independently.
    """

    tag: str
    languages: int
    at_least: int
    neurons: tuple[tuple[int, int], ...]
    expected: float


@dataclass(frozen=True)
class Languages:
    """The comparison of languages; ``having`` lists those that have a tag."""

    names: tuple[str, ...]
    having: Mapping[str, tuple[str, ...]]
    by_tag: tuple[TagPair, ...]
    pairs: tuple[LanguagePair, ...]
    cores: tuple[Core, ...]

    @property
    def missing(self) -> dict[str, tuple[str, ...]]:
        """The languages that lack a tag, for every tag that not all have."""
        lacking = {tag: tuple(n for n in self.names if n not in having) for tag, having in self.having.items()}
        return {tag: names for tag, names in lacking.items() if names}

    @property
    def apart(self) -> tuple[LanguagePair, ...]:
        """The pairs of languages without a common tag."""
        return tuple(pair for pair in self.pairs if not pair.tags)


def compare_languages(sets: Mapping[str, NeuronSets], *, permutations: int = PERMUTATIONS, seed: int = 0) -> Languages:
    """Compare the sets of the same tags in several languages.

    Args:
        sets: The key neurons by language, of the same site and layers.
        permutations: Number of random pairings of the tags of two languages.
        seed: Seed of these.

    Returns:
        The comparison; tags and pairs are in alphabetical order and in that of ``sets``.

    Raises:
        ValueError: If there are fewer than two languages, or they differ in site, width or layers.
    """
    check_alike(sets)
    if len(sets) < 2 or len({own.layers for own in sets.values()}) > 1:
        raise ValueError(f"languages are compared on the same layers, got {[own.layers for own in sets.values()]}")
    tags = sorted(set().union(*sets.values()))
    having = {tag: tuple(name for name, own in sets.items() if tag in own) for tag in tags}
    by_tag = [_tag_pair(sets, tag, *pair) for tag in tags for pair in combinations(having[tag], 2)]
    pairs = [_language_pair(sets, pair, permutations, seed) for pair in combinations(sets, 2)]
    over_pairs = adjusted_p_values({i: each.p_value for i, each in enumerate(pairs) if each.p_value is not None})
    return Languages(
        tuple(sets),
        having,
        _adjusted(by_tag),
        tuple(replace(each, p_adjusted=over_pairs.get(i)) for i, each in enumerate(pairs)),
        tuple(core for tag in tags if len(having[tag]) > 1 for core in _cores(sets, tag)),
    )


def shared_with(sets: Mapping[str, NeuronSets], neurons: Sequence[KeyNeuron], name: str) -> tuple[TagPair, ...]:
    """The set of every tag and language beside some other neurons, such as those of script.

    Args:
        sets: The key neurons by language.
        neurons: The other neurons, each once.
        name: Their name, ``second`` of every pair.
    """
    pairs = []
    for language, own in sets.items():
        others = {language: own, name: replace(own, tags=dict.fromkeys(own, tuple(neurons)))}
        pairs += [_tag_pair(others, tag, language, name) for tag in own]
    return _adjusted(pairs)


def _adjusted(pairs: Sequence[TagPair]) -> tuple[TagPair, ...]:
    """Adjust the p-values of the pairs of sets that both have neurons."""
    adjusted = adjusted_p_values({i: each.p_value for i, each in enumerate(pairs) if each.p_adjusted is not None})
    return tuple(replace(each, p_adjusted=adjusted.get(i)) for i, each in enumerate(pairs))


def _tag_pair(sets: Mapping[str, NeuronSets], tag: str, first: str, second: str) -> TagPair:
    """A tag in two languages; an untestable pair has no adjusted p-value."""
    a, b = (set(sets[name].columns(tag)) for name in (first, second))
    by_layer = np.array([neurons_by_layer(sets[name], tag) for name in (first, second)])
    width, shared = sets[first].neurons_per_layer, len(a & b)
    p_value = chance_of_at_least(shared, by_layer, width)
    return TagPair(
        tag,
        first,
        second,
        shared,
        float(by_layer.prod(axis=0).sum() / width),
        shared / len(a | b) if a | b else None,
        expected_jaccard(by_layer[0], by_layer[1], width) if a | b else None,
        p_value,
        p_value if a and b else None,
    )


def _language_pair(sets: Mapping[str, NeuronSets], pair: tuple[str, str], permutations: int, seed: int) -> LanguagePair:
    first, second = (sets[name] for name in pair)
    tags = [tag for tag in first if tag in second]
    used = [tag for tag in tags if first.tags[tag] and second.tags[tag]]
    if not used:
        return LanguagePair(*pair, len(tags), None, None, None, None)
    shared = np.array([[len({*first.columns(a)} & {*second.columns(b)}) for b in used] for a in used])
    sizes = np.add.outer([len(first.tags[a]) for a in used], [len(second.tags[b]) for b in used])
    jaccard = shared / (sizes - shared)
    apart = ~np.eye(len(used), dtype=bool)
    by_layer = [[neurons_by_layer(own, tag) for own in (first, second)] for tag in used]
    random = np.mean([expected_jaccard(a, b, first.neurons_per_layer) for a, b in by_layer])
    several = len(used) > 1
    return LanguagePair(
        *pair,
        len(tags),
        float(jaccard.diagonal().mean()),
        float(jaccard[apart].mean()) if several else None,
        float(random),
        matching_p_value(shared, permutations, seed) if several else None,
    )


def matching_p_value(shared: Int[ndarray, "tags tags"], permutations: int, seed: int) -> float:
    """Whether tags share more with their own counterpart than if tags were paired at random.

    The statistic is the trace of the matrix of shared neurons, its null that of the matrix with
    permuted columns: p = (1 + permutations with a trace at least as large) / (1 + permutations).
    """
    n = len(shared)
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    traces = shared[np.arange(n), drawn].sum(axis=1)
    return (1 + int((traces >= shared.trace()).sum())) / (1 + permutations)


def _cores(sets: Mapping[str, NeuronSets], tag: str) -> Sequence[Core]:
    """The shared core of a tag for every number of languages from two."""
    own = {name: replace(each, tags={tag: each.tags[tag]}) for name, each in sets.items() if tag in each}
    selected = selected_neurons(own)
    return [
        Core(
            tag,
            len(own),
            each.runs,
            tuple((one.layer, one.neuron) for one in selected if one.runs >= each.runs),
            each.expected,
        )
        for each in tally(own)
        if each.runs > 1
    ]
