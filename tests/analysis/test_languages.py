"""Sets of several languages against hand counts, scipy, all permutations and simulations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, hypergeom

from keyneurons.analysis.languages import compare_languages, matching_p_value, shared_with
from keyneurons.records import KeyNeuron, NeuronSets


def sets_of(width: int = 12, layers: tuple[int, ...] = (3,), **tags: list[int]) -> NeuronSets:
    return NeuronSets("mlp", layers, width, {t: tuple(KeyNeuron(3, n, 1.0) for n in own) for t, own in tags.items()})


LANGUAGES = {
    "English": sets_of(NOUN=[0, 1, 2], VERB=[3, 4, 5], X=[11]),
    "French": sets_of(NOUN=[0, 1, 3], VERB=[5, 4, 6]),
    "Turkish": sets_of(NOUN=[0, 7, 8], DET=[9, 10]),
    "Nothing": sets_of(SYM=[1]),
}


def test_a_hand_count() -> None:
    found = compare_languages(LANGUAGES)
    assert found.having["NOUN"] == ("English", "French", "Turkish")
    assert found.missing["VERB"] == ("Turkish", "Nothing")
    assert [(p.first, p.second) for p in found.apart] == [(n, "Nothing") for n in ("English", "French", "Turkish")]
    noun = {(p.first, p.second): p for p in found.by_tag if p.tag == "NOUN"}
    assert [p.shared for p in noun.values()] == [2, 1, 1]
    pair = noun["English", "French"]
    assert (pair.expected, pair.jaccard) == (3 * 3 / 12, 2 / 4)
    assert pair.p_value == pytest.approx(hypergeom.sf(1, 12, 3, 3))
    adjusted = false_discovery_control([p.p_value for p in found.by_tag])
    assert [p.p_adjusted for p in found.by_tag] == pytest.approx(adjusted)
    assert not compare_languages({"a": LANGUAGES["French"], "b": LANGUAGES["Nothing"]}).by_tag
    first = found.pairs[0]
    assert (first.tags, first.same_tag, first.other_tag) == (2, (2 / 4 + 2 / 4) / 2, (0 + 1 / 5) / 2)
    counts = np.arange(4)
    by_chance = (hypergeom.pmf(counts, 12, 3, 3) * counts / (6 - counts)).sum()
    assert first.random == pytest.approx(by_chance)
    assert (found.pairs[1].tags, found.pairs[1].p_value) == (1, None)  # English, Turkish: NOUN alone


def test_the_core_is_beside_independent_sets() -> None:
    found = compare_languages(LANGUAGES)
    cores = {core.at_least: core for core in found.cores if core.tag == "NOUN"}
    assert (cores[2].neurons, cores[3].neurons) == (((3, 0), (3, 1)), ((3, 0),))
    draw = np.random.default_rng(0)
    drawn = draw.random((40_000, 3, 12)).argsort(axis=2) < 3  # three neurons for each of three languages
    for least, core in cores.items():
        simulated = (drawn.sum(axis=1) >= least).sum(axis=1)
        assert core.expected == pytest.approx(simulated.mean(), abs=5 * simulated.std() / np.sqrt(len(drawn)))


def test_empty_sets_are_not_tested() -> None:
    found = compare_languages({"a": sets_of(N=[], V=[1]), "b": sets_of(N=[], V=[1])})
    empty, verb = found.by_tag
    assert (empty.jaccard, empty.p_value, empty.p_adjusted) == (None, 1.0, None)
    assert verb.p_adjusted == pytest.approx(1 / 12)
    assert (found.pairs[0].tags, found.pairs[0].same_tag, found.pairs[0].other_tag) == (2, 1.0, None)


def test_the_pairing_of_tags_is_tested_against_all_pairings() -> None:
    shared = np.random.default_rng(0).integers(0, 4, size=(5, 5)) + np.eye(5, dtype=int)
    traces = [shared[range(5), list(order)].sum() for order in permutations(range(5))]
    exact = np.mean([trace >= shared.trace() for trace in traces])
    assert 0.01 < exact < 0.5
    assert matching_p_value(shared, 20_000, seed=1) == pytest.approx(exact, abs=0.015)


def test_the_pairing_of_tags_has_its_error_rate_and_finds_a_planted_match() -> None:
    draw, sizes = np.random.default_rng(5), 6
    null = [matching_p_value(draw.binomial(10, 0.2, size=(sizes, sizes)), 199, seed=i) for i in range(400)]
    assert 0.01 < np.mean(np.array(null) <= 0.05) < 0.075  # 20 of 400 expected; ties make it smaller
    planted = draw.binomial(10, 0.2, size=(sizes, sizes)) + 4 * np.eye(sizes, dtype=int)
    assert matching_p_value(planted, 199, seed=0) < 0.01


def test_sets_beside_other_neurons() -> None:
    others = [KeyNeuron(3, n, 1.0) for n in (0, 1, 9, 10)]
    found = {(p.first, p.tag): p for p in shared_with(LANGUAGES, others, "script")}
    assert [found["English", tag].shared for tag in ("NOUN", "VERB", "X")] == [2, 0, 0]
    noun = found["English", "NOUN"]
    assert (noun.second, noun.expected, noun.jaccard) == ("script", 3 * 4 / 12, 2 / 5)
    assert noun.p_value == pytest.approx(hypergeom.sf(1, 12, 4, 3))
    assert noun.p_adjusted == pytest.approx(false_discovery_control([p.p_value for p in found.values()])[0])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"a": sets_of(N=[1])}, r"^languages are compared on the same layers, got \[\(3,\)\]$"),
        ({"a": sets_of(N=[1]), "b": sets_of(layers=(3, 4), N=[1])}, r"on the same layers, got \[\(3,\), \(3, 4\)\]"),
        ({"a": sets_of(N=[1]), "b": sets_of(width=9, N=[1])}, "must share site and width"),
    ],
    ids=["one", "other layers", "other width"],
)
def test_what_cannot_be_compared_is_refused(sets: dict[str, NeuronSets], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_languages(sets)
