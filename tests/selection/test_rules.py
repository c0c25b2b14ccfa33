"""Rules that select key neurons from scores."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import false_discovery_control

from keyneurons.records import KeyNeuron, Scores
from keyneurons.selection.rules import Rule, cumulative_mass_mask, select, top_k_neurons
from keyneurons.selection.significance import benjamini_hochberg


def scores_of(values: list[list[float]], layers: tuple[int, ...] = (3, 8), **more: torch.Tensor) -> Scores:
    table = torch.tensor(values, dtype=torch.float64)
    return Scores("mlp", layers, table.shape[1] // len(layers), table, **more)


def test_benjamini_hochberg_numbers_of_methods_md():
    adjusted = benjamini_hochberg(torch.tensor([0.01, 0.04, 0.03, 0.005], dtype=torch.float64))
    assert adjusted.tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_benjamini_hochberg_equals_scipy_row_by_row():
    p = torch.rand(3, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    p[0, :50] = p[0, 50:100]
    p[1, 0], p[1, 1] = 0.0, 1.0
    torch.testing.assert_close(
        benjamini_hochberg(p).numpy(), false_discovery_control(p.numpy(), axis=1), rtol=1e-12, atol=0
    )


def test_benjamini_hochberg_rejects_values_outside_0_to_1():
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, got .*\.\.1\.5"):
        benjamini_hochberg(torch.tensor([0.5, 1.5]))


def test_ties_go_to_the_lower_neuron():
    scores = torch.tensor([[1.0, -2.0, 2.0, 2.0, 0.5], [1.0] * 5])
    assert top_k_neurons(scores, 3).tolist() == [[1, 2, 3], [0, 1, 2]]
    wide = torch.ones(1, 5000)
    assert top_k_neurons(wide, 100).tolist() == [list(range(100))]


@pytest.mark.parametrize("k", [0, -5, 6])
def test_top_k_out_of_range(k):
    with pytest.raises(ValueError, match=rf"top_k must lie in 1\.\.5 .* got {k}"):
        top_k_neurons(torch.ones(1, 5), k)


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match="2 scores are not finite"):
        top_k_neurons(torch.tensor([[1.0, torch.nan, -torch.inf]]), 1)


def test_scope_layer_selects_k_neurons_per_layer_strongest_first():
    sets = select(scores_of([[0.1, 0.9, -0.3, 0.8, -0.95, 0.7]]), ["NOUN"], Rule(2, "layer"))
    assert [(n.layer, n.neuron, n.score) for n in sets.tags["NOUN"]] == [
        (8, 1, -0.95), (3, 1, 0.9), (8, 0, 0.8), (3, 2, -0.3),
    ]  # fmt: skip
    assert sets.columns("NOUN") == [4, 1, 3, 2]


def test_scope_model_selects_k_neurons_over_all_layers():
    sets = select(scores_of([[0.1, 0.2, 0.3, 0.8, -0.95, 0.7]]), ["NOUN"], Rule(2, "model"))
    assert [(n.layer, n.neuron) for n in sets.tags["NOUN"]] == [(8, 1), (8, 0)]


def test_ties_between_layers_go_to_the_lower_column():
    tied = scores_of([[0.5, 0.5, 0.5, 0.5]], layers=(8, 3))
    for scope, k in (("layer", 1), ("model", 2)):
        columns = select(tied, ["NOUN"], Rule(k, scope)).columns("NOUN")
        assert columns == ([0, 2] if scope == "layer" else [0, 1])


def test_tags_come_in_alphabetical_order():
    sets = select(scores_of([[1.0, 2.0], [4.0, 3.0]]), ["VERB", "ADJ"], Rule(1, "layer"))
    assert list(sets) == ["ADJ", "VERB"]
    assert [n.score for n in sets.tags["VERB"]] == [2.0, 1.0]


def test_p_values_stay_with_their_neurons():
    p = torch.tensor([[0.01, 0.04, 0.03, 0.005], [1.0, 1.0, 1.0, 0.5]], dtype=torch.float64)
    sets = select(
        scores_of([[3.0, 1.0, 2.0, 4.0]] * 2, p_values=p), ["A", "B"], Rule(1, "layer"), benjamini_hochberg(p)
    )
    assert sets.tags["A"] == (KeyNeuron(8, 1, 4.0, 0.005, 0.02), KeyNeuron(3, 0, 3.0, 0.01, 0.02))
    assert [n.p_adjusted for n in sets.tags["B"]] == [1.0, 1.0]


def test_scores_without_p_values_give_neurons_without_p_values():
    sets = select(scores_of([[1.0, 2.0]]), ["A"], Rule(1, "model"))
    assert sets.tags["A"] == (KeyNeuron(8, 0, 2.0, None, None),)


def numbers(sets, tag: str) -> list[int]:
    return sets.columns(tag)


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_scores_of_zero_are_never_selected_and_sets_are_not_padded(scope):
    sparse = scores_of([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 4.0, 0.0, 0.0]])
    sets = select(sparse, ["A", "B"], Rule(3, scope))
    assert numbers(sets, "B") == [3, 0]
    assert len(numbers(sets, "A")) == Rule(3, scope).max_size(2)


def test_all_zero_gives_empty_sets():
    sets = select(scores_of([[0.0] * 4, [0.0, 0.0, 1.0, 0.0]]), ["A", "B"], Rule(2, "layer"))
    assert numbers(sets, "A") == []
    assert sets.union() == [2]


@pytest.mark.parametrize(("sign", "expected"), [("both", [4, 1, 3]), ("positive", [1, 3, 5]), ("negative", [4, 2])])
def test_sign(sign, expected):
    result = select(scores_of([[0.1, 0.9, -0.3, 0.8, -0.95, 0.7]]), ["A"], Rule(3, "model", sign=sign))
    assert numbers(result, "A") == expected


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, [0]), (0.4, [0]), (0.5, [0, 1]), (0.71, [0, 1, 2]), (1.0, [0, 1, 2, 3])]
)
def test_share_of_mass_of_methods_md(share, expected):
    weights = scores_of([[4.0, -3.0, 2.0, 1.0]], layers=(3,))
    assert numbers(select(weights, ["A"], Rule(4, "layer", mass=share)), "A") == expected


def test_share_of_mass_by_tag():
    """METHODS.md has {0, 3} for .7 because its tie goes to the higher neuron."""
    table = [[5.0, 1.0, 1.0, 1.0], [1.0, 4.0, 2.0, 1.0]]

    def selected(share: float, table: list[list[float]]) -> list[list[int]]:
        sets = select(scores_of(table, layers=(3,)), ["A", "B"], Rule(4, "layer", mass=share))
        return [numbers(sets, "A"), numbers(sets, "B")]

    assert selected(0.5, table) == [[0], [1]]
    assert selected(0.7, table) == [[0, 1], [1, 2]]
    table[0][3] += 1e-6
    assert selected(0.7, table) == [[0, 3], [1, 2]]


def test_mass_of_one_includes_the_last_neuron_in_float32():
    magnitudes = (torch.rand(1, 3000, generator=torch.Generator().manual_seed(0)) + 0.1).sort(descending=True).values
    magnitudes[0, -1] = 1e-9
    assert cumulative_mass_mask(magnitudes, 1.0).all()
    assert not cumulative_mass_mask(torch.tensor([[1.0, 0.0]]), 1.0)[0, 1]
    assert not cumulative_mass_mask(torch.zeros(1, 3), 0.5).any()


def test_top_k_limits_the_sets_by_mass():
    result = select(scores_of([[4.0, -3.0, 2.0, 1.0]], layers=(3,)), ["A"], Rule(2, "layer", mass=0.9))
    assert numbers(result, "A") == [0, 1]
    with pytest.raises(ValueError, match=r"top_k must lie in 1\.\.4 .* got 5"):
        select(scores_of([[4.0, -3.0, 2.0, 1.0]], layers=(3,)), ["A"], Rule(5, "layer", mass=0.9))


@pytest.mark.parametrize("mass", [None, 0.5, 1.0])
@pytest.mark.parametrize("k", [0, -1])
def test_top_k_below_one_is_rejected_with_mass_too(k, mass):
    with pytest.raises(ValueError, match=f"top_k must be at least 1, got {k}"):
        Rule(k, "layer", mass=mass)


def test_mass_is_computed_after_the_sign_filter():
    weights = scores_of([[4.0, -3.0, 2.0, 1.0]], layers=(3,))
    result = select(weights, ["A"], Rule(4, "layer", sign="positive", mass=0.6))
    assert numbers(result, "A") == [0, 2]  # 4 of 7 are too few


def test_mass_is_computed_within_the_scope():
    table = scores_of([[4.0, -3.0, 2.0, 1.0]])
    assert numbers(select(table, ["A"], Rule(2, "layer", mass=0.5)), "A") == [0, 2]
    assert numbers(select(table, ["A"], Rule(2, "model", mass=0.5)), "A") == [0, 1]


def test_alpha_out_of_range():
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1, got 2"):
        select(scores_of([[1.0, 2.0]]), ["A"], Rule(1, "layer", threshold="fdr", alpha=2.0), torch.ones(1, 2))


@pytest.mark.parametrize("mass", [-0.1, 1.1])
def test_mass_out_of_range(mass):
    with pytest.raises(ValueError, match=r"mass must lie in 0\.\.1"):
        Rule(1, "layer", mass=mass)


@pytest.mark.parametrize("threshold", ["fdr", "permutation"])
def test_thresholds_keep_significant_neurons(threshold):
    table = scores_of([[3.0, 1.0, 2.0, 4.0], [3.0, 1.0, 2.0, 4.0]])
    adjusted = torch.tensor([[0.001, 0.04, 0.03, 0.2], [0.9, 0.9, 0.6, 0.9]])
    sets = select(table, ["A", "B"], Rule(2, "layer", threshold=threshold, alpha=0.05), adjusted)
    assert numbers(sets, "A") == [0]  # .04 and .03 exceed alpha times the share of significant tags
    assert numbers(sets, "B") == []
    assert sets.tags["A"][0].p_adjusted == pytest.approx(0.001)
    with pytest.raises(ValueError, match=f"threshold={threshold} needs p-values, but these scores have none"):
        select(table, ["A", "B"], Rule(2, "layer", threshold=threshold))


def test_tag_names_must_match_the_scores():
    with pytest.raises(ValueError, match="1 rows of scores need as many distinct tag names"):
        select(scores_of([[1.0, 2.0]]), ["A", "B"], Rule(1, "layer"))
