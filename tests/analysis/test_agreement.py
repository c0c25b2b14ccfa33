"""Agreement against the infinite sum of rank-biased overlap, a tau loop, and planted methods."""

from __future__ import annotations

from itertools import combinations
from math import log

import numpy as np
import pytest
import torch

from keyneurons.analysis.agreement import agreement, kendall_tau, rank_biased_overlap
from keyneurons.analysis.stability import expected_jaccard, jaccard
from keyneurons.records import KeyNeuron, NeuronSets, Scores


def ranking(items: str) -> np.ndarray:
    return np.array([ord(item) for item in items])


def infinite_sum(agreement_at: list[float], p: float) -> float:
    """The definition ``(1-p) sum_d p^(d-1) A_d``, truncated at a depth of negligible weight."""
    assert p ** len(agreement_at) < 1e-12
    return (1 - p) * sum(p**d * share for d, share in enumerate(agreement_at))


def extrapolated(first: np.ndarray, second: np.ndarray, p: float) -> float:
    """The definition, with the share of agreement constant beyond the end of each ranking."""
    shorter, longer = sorted((first.tolist(), second.tolist()), key=len)
    shares = []
    for d in range(1, 3000):
        if d <= len(longer):
            shared = len({*shorter[:d]} & {*longer[:d]})
            missing = max(d - len(shorter), 0) * len({*shorter} & {*longer[: len(shorter)]}) / len(shorter)
            shares.append((shared + missing) / d)
        else:
            shares.append(shares[-1])
    return infinite_sum(shares, p)


def bounds(first: np.ndarray, second: np.ndarray, p: float) -> tuple[float, float]:
    """The definition on rankings of equal length, extended with nothing or everything in common."""
    k, depth = len(first), 400
    fresh = list(range(10_000, 10_000 + 2 * depth))
    apart = [*first, *fresh[:depth]], [*second, *fresh[depth:]]
    only_first, only_second = ([x for x in a if x not in set(b)] for a, b in ((first, second), (second, first)))
    alike = [*first, *only_second, *fresh[:depth]], [*second, *only_first, *fresh[:depth]]
    low, high = (
        infinite_sum([len({*a[:d]} & {*b[:d]}) / d for d in range(1, k + depth)], p) for a, b in (apart, alike)
    )
    return low, high


class TestRankBiasedOverlap:
    def test_identical_rankings_give_one_and_disjoint_ones_zero(self):
        rng = np.random.default_rng(0)
        for length in (1, 2, 17, 1000):
            items = rng.permutation(5000)[: 2 * length]
            for p in (0.1, 0.9, 0.999):
                assert rank_biased_overlap(items[:length], items[:length], p) == pytest.approx(1, rel=1e-12)
                assert rank_biased_overlap(items[:length], items[length:], p) == 0

    def test_example_of_the_paper(self):
        """Webber et al., figure 5: agreement at depths 1 to 7 is 0, 0, 2/3, 1/2, 2/5, 1/3, 2/7."""
        shares = [0, 0, 2 / 3, 1 / 2, 2 / 5, 1 / 3, 2 / 7]
        by_hand = 0.1 * sum(0.9**d * share for d, share in enumerate(shares)) + 0.9**7 * 2 / 7
        assert rank_biased_overlap(ranking("abcdefg"), ranking("zcavwxy")) == pytest.approx(by_hand, rel=1e-12)

    def test_published_value(self):
        assert rank_biased_overlap(ranking("abcde"), ranking("bcdae"), 0.9) == pytest.approx(0.828, abs=1e-9)

    @pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
    def test_equals_the_infinite_sum_for_any_lengths(self, p):
        rng = np.random.default_rng(0)
        for _ in range(20):
            first, second = (rng.permutation(30)[: rng.integers(1, 31)] for _ in range(2))
            assert rank_biased_overlap(first, second, p) == pytest.approx(extrapolated(first, second, p), rel=1e-9)

    def test_lies_between_the_bounds(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            first, second = (rng.permutation(12)[:8] for _ in range(2))
            low, high = bounds(first, second, 0.9)
            assert low - 1e-9 <= rank_biased_overlap(first, second) <= high + 1e-9
            assert high - low > 0.01

    def test_top_ranks_have_most_weight_and_arguments_commute(self):
        items = np.arange(50)
        top, bottom = items.copy(), items.copy()
        top[[0, 9]], bottom[[40, 49]] = top[[9, 0]], bottom[[49, 40]]
        assert rank_biased_overlap(items, top) < 0.9 < 0.999 < rank_biased_overlap(items, bottom) < 1
        assert rank_biased_overlap(top, bottom[:20]) == rank_biased_overlap(bottom[:20], top)

    def test_weight_of_the_first_ten(self):
        """Equation 21, 86 % with p = .9: rankings that agree on the first 10 items only."""
        weight = 1 - 0.9**9 + 0.1 / 0.9 * 10 * (log(10) - sum(0.9**i / i for i in range(1, 10)))
        first, second = np.arange(600), np.r_[0:10, 1000:1590]
        assert rank_biased_overlap(first, second) == pytest.approx(weight, abs=1e-9)
        assert weight == pytest.approx(0.8556, abs=1e-4)

    def test_bad_input(self):
        items = np.arange(3)
        for p in (0.0, 1.0, -0.1, np.nan):
            with pytest.raises(ValueError, match=f"between 0 and 1, both excluded, got {p}"):
                rank_biased_overlap(items, items, p)
        with pytest.raises(ValueError, match="must be non-empty and have no duplicates, got 3 and 0 items"):
            rank_biased_overlap(items, items[:0])
        for first, second in ((np.array([1, 1]), items), (items, np.array([4, 3, 4, 5]))):
            with pytest.raises(ValueError, match="must be non-empty and have no duplicates"):
                rank_biased_overlap(first, second)


def tau_b(x: np.ndarray, y: np.ndarray) -> float:
    signs = np.array([[np.sign(x[i] - x[j]), np.sign(y[i] - y[j])] for i, j in combinations(range(len(x)), 2)])
    return float(signs.prod(axis=1).sum() / np.sqrt((signs**2).sum(axis=0).prod()))


class TestKendallTau:
    @pytest.mark.parametrize("ties", [False, True])
    def test_equals_a_loop_over_pairs(self, ties):
        rng = np.random.default_rng(0)
        for _ in range(5):
            x = rng.normal(size=60)
            y = x + rng.normal(size=60)
            if ties:
                x, y = np.maximum(x, 0), np.round(y)
            assert kendall_tau(x, y) == pytest.approx(tau_b(x, y), rel=1e-12)

    def test_equal_order_gives_one_and_independence_zero(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=3000)
        assert kendall_tau(x, np.exp(x)) == pytest.approx(1, rel=1e-12)
        assert kendall_tau(x, -x) == pytest.approx(-1, rel=1e-12)
        assert kendall_tau(x, rng.normal(size=3000)) == pytest.approx(0, abs=0.05)

    def test_constant_vectors_have_no_tau(self):
        x = np.arange(4.0)
        assert kendall_tau(x, np.full(4, 0.1)) is None
        assert kendall_tau(np.full(4, 0.1), x) is None
        assert kendall_tau(x[:1], x[:1]) is None
        assert kendall_tau(x[:2], x[:2]) == pytest.approx(1)

    def test_all_but_one_tied(self):
        x, y = np.zeros(46_080), np.zeros(46_080)
        x[3] = y[3] = 1
        assert kendall_tau(x, y) == pytest.approx(1)
        assert kendall_tau(x, np.roll(y, 1)) == pytest.approx(0, abs=1e-4)

    def test_non_finite_values_are_rejected(self):
        with pytest.raises(ValueError, match="tau needs finite vectors of equal length"):
            kendall_tau(np.array([0.0, np.nan]), np.array([0.0, 1.0]))


TAGS = ("ADJ", "NOUN", "VERB")


def scored(values: torch.Tensor, k: int, width: int = 20) -> tuple[Scores, NeuronSets]:
    """Scores of two layers and their k strongest neurons; neurons with score 0 are never key."""
    top = values.abs().sort(dim=1, descending=True, stable=True).indices[:, :k].tolist()
    sets = {
        tag: tuple(KeyNeuron(3 + n // width, n % width, values[t, n].item()) for n in row if values[t, n])
        for t, (tag, row) in enumerate(zip(TAGS, top, strict=True))
    }
    return Scores("mlp", (3, 4), width, values), NeuronSets("mlp", (3, 4), width, sets)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(3, 40, generator=torch.Generator().manual_seed(seed))


def test_matrices_are_means_of_the_measures():
    methods = {"b": scored(noise(0), 10), "a": scored(noise(0) + noise(1), 15), "c": scored(noise(2), 10)}
    result = agreement(methods, TAGS)
    assert result.methods == ("b", "a", "c")
    values = {name: scores.values.abs().double().numpy() for name, (scores, _) in methods.items()}
    for (i, one), (j, other) in combinations(enumerate(result.methods), 2):
        shared = jaccard(methods[one][1], methods[other][1])
        x, y = values[one], values[other]
        assert result.jaccard[i, j] == pytest.approx(np.mean([shared[tag] for tag in TAGS]))
        assert [result.jaccard_by_tag[tag][i, j] for tag in TAGS] == [shared[tag] for tag in TAGS]
        assert result.kendall_tau[i, j] == pytest.approx(np.mean([tau_b(x[t], y[t]) for t in range(3)]))
        overlaps = [rank_biased_overlap((-x[t]).argsort(), (-y[t]).argsort()) for t in range(3)]
        assert result.rank_biased_overlap[i, j] == pytest.approx(np.mean(overlaps))
    for name in ("jaccard", "expected_jaccard", "rank_biased_overlap", "kendall_tau"):
        matrix = getattr(result, name)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert name == "expected_jaccard" or (np.diag(matrix) == 1).all()
    assert result.kendall_tau[0, 1] > 0.2 > abs(result.kendall_tau[0, 2])


def test_expected_jaccard_is_that_of_random_sets_including_the_diagonal():
    sizes = np.array([4, 2])
    values = torch.zeros(3, 40)
    values[:, [0, 5, 6, 7, 21, 39]] = 1.0
    methods = {"a": scored(values, 6), "b": scored(values * 2, 6)}
    result = agreement(methods, TAGS)
    np.testing.assert_allclose(result.expected_jaccard, expected_jaccard(sizes, sizes, 20), rtol=1e-12)
    assert (result.jaccard == 1).all()


def test_methods_on_noise_agree_as_expected_by_chance():
    """60 pairs of methods, 10 of 40 neurons: noise agrees as expected, a common signal far more."""

    def means(signal: torch.Tensor) -> tuple[float, float, float]:
        pairs = [
            agreement({"a": scored(noise(s) + signal, 10), "b": scored(noise(-s) + signal, 10)}, TAGS)
            for s in range(1, 61)
        ]
        measures = [(pair.jaccard[0, 1], pair.expected_jaccard[0, 1], pair.kendall_tau[0, 1]) for pair in pairs]
        return tuple(np.mean(measures, axis=0))

    none, some = means(0 * noise(0)), means(2 * noise(0))
    assert none[0] == pytest.approx(none[1], abs=0.02)
    assert none[2] == pytest.approx(0, abs=0.03)
    assert some[0] > 2 * some[1]
    assert some[2] > 0.2


def test_signs_do_not_matter_and_inputs_are_unchanged():
    values = noise(0)
    flipped = values * torch.where(noise(9) > 0, 1.0, -1.0)
    before = values.clone()
    result = agreement({"a": scored(values, 10), "b": scored(flipped, 10)}, TAGS)
    for matrix in (result.jaccard, result.rank_biased_overlap, result.kendall_tau):
        np.testing.assert_allclose(matrix, 1, rtol=1e-12)
    assert torch.equal(values, before)


def test_neurons_with_score_zero_are_not_ranked_and_ties_go_to_the_lower():
    """The sparse method ranks the top three neurons of the dense one; the 37 zeros have no rank."""
    dense = torch.arange(40, 0, -1).float().expand(3, 40)
    sparse = dense * (dense > 37)
    tied = dense.clamp(max=20)
    result = agreement({"dense": scored(dense, 3), "sparse": scored(sparse, 3), "tied": scored(tied, 3)}, TAGS)
    np.testing.assert_allclose(result.rank_biased_overlap, 1, rtol=1e-12)
    assert result.kendall_tau[0, 1] < 0.6


def test_only_the_first_thousand_ranks_count():
    """Methods that differ after rank 1,000 agree fully; those that differ just before do not."""
    values = torch.arange(2400, 0, -1).float().expand(3, 2400)
    after, before = values.clone(), values.clone()
    after[:, 1000:], before[:, 900:] = values[:, 1000:].flip(1), values[:, 900:].flip(1)
    methods = {name: scored(v, 3, width=1200) for name, v in (("a", values), ("b", after), ("c", before))}
    overlap = agreement(methods, TAGS).rank_biased_overlap
    assert overlap[0, 1] == pytest.approx(1, abs=1e-15)
    items = np.arange(1000)
    by_hand = rank_biased_overlap(items, np.r_[0:900, 2399:2299:-1])
    assert overlap[0, 2] == by_hand


def test_undefined_tags_are_excluded():
    """ADJ is empty for one method, NOUN for two; means are over the other tags, or nan."""
    a, b, none = noise(0), noise(1), torch.zeros(3, 40)
    a[:2], b[1] = 0, 0
    result = agreement({"a": scored(a, 5), "b": scored(b, 5), "none": scored(none, 5), "nil": scored(none, 5)}, TAGS)
    by_tag = {tag: result.jaccard_by_tag[tag][0, 1] for tag in TAGS}
    assert by_tag["ADJ"] == 0
    assert np.isnan(by_tag["NOUN"])
    assert result.jaccard[0, 1] == by_tag["VERB"] / 2
    assert result.kendall_tau[0, 1] == pytest.approx(tau_b(a[2].abs().numpy(), b[2].abs().numpy()))
    assert result.jaccard[0, 2] == 0
    assert np.isnan([result.rank_biased_overlap[0, 2], result.kendall_tau[0, 2]]).all()
    assert np.isnan([getattr(result, name)[2, 3] for name in ("jaccard", "expected_jaccard")]).all()
    assert np.isnan(result.expected_jaccard[2, 2])
    assert (np.diag(result.jaccard) == 1).all()


class TestBadMethods:
    def test_one_method(self):
        with pytest.raises(
            ValueError, match=r"at least 2 methods and 1 tag, got \['a'\] and \['ADJ', 'NOUN', 'VERB'\]"
        ):
            agreement({"a": scored(noise(0), 5)}, TAGS)

    @pytest.mark.parametrize(
        ("site", "layers", "width"), [("residual", (3, 4), 20), ("mlp", (3, 5), 20), ("mlp", (3,), 40)]
    )
    @pytest.mark.parametrize("part", [0, 1])
    def test_other_site_layers_or_width(self, site, layers, width, part):
        scores, sets = scored(noise(1), 5)
        other = [scores, sets]
        other[part] = (Scores(site, layers, width, scores.values), NeuronSets(site, layers, width, {}))[part]
        methods = {"a": scored(noise(0), 5), "same": scored(noise(0), 5), "far": tuple(other)}
        with pytest.raises(ValueError, match=rf"a and far must share .* \('mlp', \(3, 4\), 20\) and \('{site}', "):
            agreement(methods, TAGS)

    def test_tags_that_do_not_match(self):
        methods = {"a": scored(noise(0), 5), "b": scored(noise(1), 5)}
        with pytest.raises(ValueError, match=r"tags of a must be \['ADJ', 'NOUN'\], got 3 rows"):
            agreement(methods, TAGS[:2])
        with pytest.raises(ValueError, match=r"tags of a must be .*'X'\], got 3 rows and .*'VERB'\]"):
            agreement(methods, ("ADJ", "NOUN", "X"))

    def test_scores_that_are_not_finite(self):
        wrong = noise(1)
        wrong[1, 7] = torch.inf
        with pytest.raises(ValueError, match="scores of b must be finite, got 1 that are not"):
            agreement({"a": scored(noise(0), 5), "b": scored(wrong, 5)}, TAGS)
