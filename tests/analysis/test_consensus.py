"""Agreement and consensus of runs against direct loops, and chance against random sets."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import numpy as np
import pytest

from keyneurons.analysis.consensus import consensus, runs_needed, selected_neurons, tally
from keyneurons.analysis.set_agreement import set_agreement
from keyneurons.analysis.stability import expected_jaccard
from keyneurons.records import KeyNeuron, NeuronSets

WIDTH = 12
Places = dict[str, list[tuple[int, int]]]


def sets(layers: tuple[int, ...], tags: Places, width: int = WIDTH) -> NeuronSets:
    own = {tag: tuple(KeyNeuron(layer, n, 1.0) for layer, n in places) for tag, places in tags.items()}
    return NeuronSets("mlp", layers, width, own)


def at_random(rng: np.random.Generator, layers: tuple[int, ...], k: int, tags: str = "AB") -> NeuronSets:
    """Sets with ``k`` neurons in every layer."""
    drawn = {tag: [(layer, int(n)) for layer in layers for n in rng.permutation(WIDTH)[:k]] for tag in tags}
    return sets(layers, drawn)


def some_runs() -> dict[str, NeuronSets]:
    rng = np.random.default_rng(3)
    return {
        "one": at_random(rng, (1,), 4),
        "two": at_random(rng, (1,), 6),
        "both": at_random(rng, (1, 5), 3),
        "other": at_random(rng, (5,), 5, "ABC"),
    }


def places(own: NeuronSets, tag: str) -> set[tuple[int, int]]:
    return {(n.layer, n.neuron) for n in own.tags[tag]}


class TestAgreement:
    def test_agreement_equals_a_loop_over_sets(self):
        runs = some_runs()
        result = set_agreement(runs)
        assert (result.runs, result.tags) == (tuple(runs), ("A", "B", "C"))
        for (i, a), (j, b) in combinations(enumerate(runs.values()), 2):
            if not set(a.layers) & set(b.layers):
                assert np.isnan(result.jaccard[i, j])
                assert np.isnan(result.jaccard_by_tag[:, i, j]).all()
                continue
            by_tag = [len(places(a, t) & places(b, t)) / len(places(a, t) | places(b, t)) for t in "AB"]
            assert result.jaccard_by_tag[:2, i, j] == pytest.approx(by_tag)
            assert result.jaccard[i, j] == result.jaccard[j, i] == pytest.approx(fmean(by_tag))
            assert np.isnan(result.jaccard_by_tag[2, i, j])  # only one of them has the tag
        assert np.diag(result.jaccard) == pytest.approx(1)

    def test_chance_covers_common_layers_only(self):
        result = set_agreement(some_runs())
        assert result.expected[0, 1] == pytest.approx(expected_jaccard(np.array([4]), np.array([6]), WIDTH))
        assert result.expected[0, 2] == pytest.approx(expected_jaccard(np.array([4, 0]), np.array([3, 3]), WIDTH))
        assert np.isnan(result.expected[0, 3])
        assert result.expected[0, 0] == pytest.approx(expected_jaccard(np.array([4]), np.array([4]), WIDTH))

    @pytest.mark.slow
    def test_chance_is_the_mean_over_random_sets(self):
        rng = np.random.default_rng(0)
        drawn, chance = [], 0.0
        for _ in range(700):
            result = set_agreement({"a": at_random(rng, (1, 5), 3, "A"), "b": at_random(rng, (5,), 6, "A")})
            drawn.append(result.jaccard[0, 1])
            chance = result.expected[0, 1]
        assert fmean(drawn) == pytest.approx(chance, abs=4 * np.std(drawn) / len(drawn) ** 0.5)

    def test_equal_sets_agree_fully_and_beyond_chance(self):
        own = at_random(np.random.default_rng(1), (1,), 4)
        result = set_agreement({"a": own, "b": own})
        assert result.jaccard[0, 1] == 1
        assert result.expected[0, 1] < 0.3

    def test_two_empty_sets_are_not_compared(self):
        one, other = sets((1,), {"A": [], "B": [(1, 2)]}), sets((1,), {"A": [], "B": [(1, 2)]})
        result = set_agreement({"a": one, "b": other})
        assert np.isnan(result.jaccard_by_tag[0, 0, 1])
        assert result.jaccard[0, 1] == 1

    def test_one_run_is_rejected(self):
        with pytest.raises(ValueError, match=r"at least 2 runs, got \['one'\]"):
            set_agreement({"one": some_runs()["one"]})

    @pytest.mark.parametrize("function", [set_agreement, selected_neurons, tally, consensus])
    def test_another_width_is_rejected(self, function):
        one, other = sets((1,), {"A": [(1, 2)]}), sets((1,), {"A": [(1, 2)]}, width=20)
        with pytest.raises(ValueError, match=r"a and b must share site and width, got \('mlp', 12\) and \('mlp', 20\)"):
            function({"a": one, "b": other})


class TestConsensus:
    def test_counts_equal_a_direct_loop(self):
        runs = some_runs()
        result = selected_neurons(runs)
        by_place = {(f.tag, f.layer, f.neuron): f for f in result}
        assert len(by_place) == len(result)
        for tag in "ABC":
            for layer in (1, 5):
                able = [own for own in runs.values() if tag in own.tags and layer in own.layers]
                chance = sum(sum(n.layer == layer for n in own.tags[tag]) / WIDTH for own in able)
                for neuron in range(WIDTH):
                    count = sum((layer, neuron) in places(own, tag) for own in able)
                    one = by_place.get((tag, layer, neuron))
                    assert (one is None) == (count == 0)
                    if one is not None:
                        assert (one.runs, one.of, one.share) == (count, len(able), count / len(able))
                        assert one.expected == pytest.approx(chance)
        assert [f.tag for f in result] == sorted(f.tag for f in result)

    def test_the_tally_by_chance_is_the_mean_over_random_sets(self):
        rng = np.random.default_rng(0)
        counts, expected = [], ()
        for _ in range(800):
            runs = {
                "a": at_random(rng, (1,), 2, "A"),
                "b": at_random(rng, (1,), 6, "A"),
                "c": at_random(rng, (1, 5), 4, "A"),
            }
            counted = tally(runs)
            counts.append([each.neurons for each in counted])
            expected = [each.expected for each in counted]
        errors = np.std(counts, axis=0) / len(counts) ** 0.5
        assert [each.runs for each in counted] == [1, 2, 3]
        assert np.all(np.abs(np.mean(counts, axis=0) - expected) < 4 * errors + 1e-9)

    def test_a_majority_of_the_runs_that_read_the_layer(self):
        runs = {
            "a": sets((1, 5), {"A": [(1, 0), (1, 1), (5, 7)]}),
            "b": sets((1,), {"A": [(1, 0), (1, 2)]}),
            "c": sets((1,), {"A": [(1, 0), (1, 1)]}),
        }
        result = consensus(runs)
        assert [(n.layer, n.neuron, n.score) for n in result.tags["A"]] == [(1, 0, 1.0), (1, 1, pytest.approx(2 / 3))]
        assert [(n.layer, n.neuron) for n in consensus(runs, 1.0).tags["A"]] == [(1, 0)]
        p = [2 / WIDTH] * 3
        at_least_two = 3 * p[0] ** 2 * (1 - p[0]) + p[0] ** 3
        assert result.expected["A"] == pytest.approx(WIDTH * at_least_two)  # one run reads layer 5: no consensus
        assert consensus(runs, 1.0).expected["A"] == pytest.approx(WIDTH * p[0] ** 3)

    def test_runs_that_share_nothing_have_no_consensus(self):
        result = consensus({"a": sets((1,), {"A": [(1, 0)]}), "b": sets((1,), {"A": [(1, 1)]})})
        assert result.tags == {"A": ()}

    def test_number_of_runs_needed(self):
        assert [runs_needed(n, None) for n in (1, 2, 3, 4, 5)] == [2, 2, 2, 3, 3]
        assert [runs_needed(10, share) for share in (0.05, 0.3, 0.31, 1.0)] == [2, 3, 4, 10]

    @pytest.mark.parametrize("share", [0.0, -1.0, 1.1])
    def test_a_share_out_of_range_is_rejected(self, share):
        with pytest.raises(ValueError, match=f"share must lie above 0 and be at most 1, got {share}"):
            consensus(some_runs(), share)
