"""Effects of lesions, their intervals, and double dissociations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from keyneurons.analysis.dissociation import dissociation
from keyneurons.analysis.effects import Effect, bootstrap_interval, effect, mean_changes
from keyneurons.analysis.interaction import additive_p_values, relabellings
from keyneurons.analysis.lesion_intervals import advantage_interval
from keyneurons.analysis.sequential import Stopping

NAMES = ("ADJ", "ADV", "NOUN", "VERB")
OPTIONS = {"permutations": 1000, "alpha": 0.05, "seed": 0}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def centred(matrix: np.ndarray) -> np.ndarray:
    result = np.empty_like(matrix)
    for i, j in np.ndindex(matrix.shape):
        result[i, j] = matrix[i, j] - matrix[i].mean() - matrix[:, j].mean() + matrix.mean()
    return result


def test_changes_are_averaged_by_tag():
    tags = np.array([0, 1, 1, 0, 2])
    changes = noise(3, 5)
    for row, values in zip(mean_changes(changes, tags, 3), changes, strict=True):
        assert row.tolist() == pytest.approx([values[[0, 3]].mean(), values[[1, 2]].mean(), values[4]])
    with pytest.raises(ValueError, match="tag 3 has no words"):
        mean_changes(changes, tags, 4)
    with pytest.raises(ValueError, match=r"tags must lie in 0\.\.1, got 0\.\.2"):
        mean_changes(changes, tags, 2)


def test_row_and_column_effects_are_removed():
    lesioned, controls = noise(4, 4), noise(20, 4, 4, seed=1)
    result = dissociation(lesioned, controls, NAMES, **OPTIONS)
    np.testing.assert_allclose(result.beyond, lesioned - controls.mean(axis=0))
    np.testing.assert_allclose(result.interaction, centred(result.beyond), atol=1e-12)
    off = ~np.eye(4, dtype=bool)
    assert result.diagonal_advantage == pytest.approx(
        np.diag(result.interaction).mean() - result.interaction[off].mean()
    )
    shifted = lesioned + np.array([[5.0], [-3], [0], [1]]) + np.array([0, 2.0, 9, -4])
    again = dissociation(shifted, controls, NAMES, **OPTIONS)
    np.testing.assert_allclose(again.interaction, result.interaction, atol=1e-12)
    assert again.additive_p_value == result.additive_p_value
    assert again.diagonal_advantage == pytest.approx(result.diagonal_advantage)


def test_the_exact_p_value_enumerates_all_permutations():
    for seed in range(10):
        lesioned, controls = noise(4, 4, seed=seed), noise(5, 4, 4, seed=100 + seed)
        result = dissociation(lesioned, controls, NAMES, **OPTIONS)
        every = [sum(result.interaction[i, order[i]] for i in range(4)) for order in itertools.permutations(range(4))]
        assert result.additive_p_value == pytest.approx(np.mean(np.array(every) >= every[0] - 1e-9))


def test_a_planted_diagonal_is_significant_and_its_control_is_not():
    lesioned, controls = 0.1 * noise(4, 4, seed=3), 0.1 * noise(200, 4, 4, seed=4)
    planted = dissociation(lesioned + np.diag([2.0, 2, 0, 0]), controls, NAMES, **OPTIONS)
    assert {pair.tags for pair in planted.pairs} == {("ADJ", "ADV")}
    assert planted.pairs[0].contrast == pytest.approx(4, abs=1)
    assert planted.pairs[0].p_value == pytest.approx(1 / 201)
    few = dissociation(lesioned + np.diag([2.0, 2, 0, 0]), controls[:20], NAMES, **OPTIONS)
    assert not few.pairs  # 1/21 alone is not significant among six pairs
    assert planted.additive_p_value <= 3 / 24
    all_four = dissociation(lesioned + np.diag([2.0] * 4), controls, NAMES, **OPTIONS)
    assert all_four.additive_p_value == all_four.least_p_value == pytest.approx(1 / 24)
    assert all_four.p_value == max(all_four.additive_p_value, all_four.multiplicative_p_value)
    assert not dissociation(lesioned, controls, NAMES, **OPTIONS).pairs


def test_pure_row_and_column_effects_are_not_significant():
    """Ties survive rounding: pure row and column effects, in changes or in controls, give p = 1."""
    shifts = np.array([[5.1], [-3.3], [0.7], [1.9]]) + np.array([0, 2.3, 9.1, -4.7])
    for lesioned, control in ((shifts, 0 * shifts), (0 * shifts, shifts), (shifts, shifts)):
        assert dissociation(lesioned, np.stack([control] * 7), NAMES, **OPTIONS).p_value == 1
    planted = shifts + 1e-6 * np.eye(4)
    assert dissociation(planted, np.stack([shifts] * 7), NAMES, **OPTIONS).additive_p_value == pytest.approx(1 / 24)


def test_a_product_is_significant_in_one_of_the_two_tests():
    strength = np.array([0.1, 0.4, 1, 3, 8])
    names = tuple("ABCDE")
    result = dissociation(np.outer(strength, strength), np.zeros((9, 5, 5)), names, **OPTIONS)
    assert result.additive_p_value == pytest.approx(1 / 120)
    assert result.multiplicative_p_value == result.p_value == 1
    specific = dissociation(np.outer(strength, strength) + 3 * np.eye(5), np.zeros((9, 5, 5)), names, **OPTIONS)
    assert specific.p_value <= 0.05


def test_a_single_dissociation_is_rarely_called_double():
    """The contrast equals that of a true pair; alone it would be called double half the time."""
    called, by_contrast = 0, 0
    for seed in range(200):
        lesioned, controls = 0.1 * noise(2, 2, seed=seed), 0.1 * noise(99, 2, 2, seed=1000 + seed)
        lesioned[0, 0] += 2
        called += len(dissociation(lesioned, controls, NAMES[:2], **OPTIONS).pairs)
        sign = np.array([[1, -1], [-1, 1]])
        large = (sign * lesioned).sum() > (sign * controls).sum(axis=(1, 2)).max()
        beyond = lesioned - controls.mean(axis=0)
        by_contrast += large and beyond[1, 1] > beyond[1, 0]
    assert called <= 21  # at most 10 expected; exceeded once in a thousand repeats
    assert by_contrast > 70


def test_one_sided_damage_is_not_a_double_dissociation():
    lesioned = np.zeros((4, 4))
    lesioned[0] = 3.0  # the lesion of ADJ hurts all tags
    assert not dissociation(lesioned, 0.01 * noise(40, 4, 4), NAMES, **OPTIONS).pairs


def test_p_is_uniform_under_the_null():
    beyond = noise(200, 6, 6) - noise(200, 5, 6, 6, seed=1).mean(axis=1)
    p = additive_p_values(beyond, relabellings(6, 199, 0), 1e-12)
    assert kstest(p, "uniform").pvalue > 0.01
    assert sum(p <= 0.05) <= 20  # 10 expected; exceeded once in a thousand repeats


def test_renaming_tags_renames_the_result():
    lesioned, controls = noise(4, 4) + np.diag([9.0] * 4), noise(40, 4, 4, seed=1)
    order = [2, 0, 3, 1]
    result = dissociation(lesioned, controls, NAMES, **OPTIONS)
    names = [NAMES[i] for i in order]
    moved = dissociation(lesioned[np.ix_(order, order)], controls[:, order][:, :, order], names, **OPTIONS)
    np.testing.assert_allclose(moved.interaction, result.interaction[np.ix_(order, order)])
    assert {frozenset(pair.tags) for pair in moved.pairs} == {frozenset(pair.tags) for pair in result.pairs}
    assert len(result.pairs) == 6


def test_intervals_draw_whole_sentences():
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(30), 20)
    changes = rng.normal(size=30)[sentences] + 0.1 * rng.normal(size=600)  # words of a sentence are equal
    low, high = bootstrap_interval(changes, sentences, draws=2000, seed=0)
    assert low < changes.mean() < high
    by_word = bootstrap_interval(changes, np.arange(600), draws=2000, seed=0)
    assert high - low > 3 * (by_word[1] - by_word[0])
    weights = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=2000)
    means = [np.repeat(changes.reshape(30, 20), row, axis=0).mean() for row in weights]
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_intervals_cover_the_mean():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sentences = np.repeat(np.arange(60), 5)
        changes = 1 + rng.normal(size=60)[sentences] + rng.normal(size=300)
        low, high = bootstrap_interval(changes, sentences, draws=400, seed=seed)
        covered += low < 1 < high
    assert 180 <= covered <= 199


def changes_of(n_sentences: int, effect: float, seed: int) -> tuple[np.ndarray, ...]:
    """Changes of words of 3 tags in sentences, under lesions of their sets and 9 control sets."""
    rng = np.random.default_rng(seed)
    sentences = np.repeat(np.arange(n_sentences), rng.integers(3, 9, n_sentences))
    tags = rng.permutation(np.arange(len(sentences)) % 3)
    every = rng.normal(size=(10, 3, n_sentences))[:, :, sentences] + rng.normal(size=(10, 3, len(sentences)))
    every[0] += effect * (tags == np.arange(3)[:, None])
    return every[0], every[1:], tags, sentences


def test_the_interval_of_the_advantage_weights_sentences_and_sets():
    changes, controls, tags, sentences = changes_of(12, 0.5, 0)
    interval = advantage_interval(changes, controls, tags, sentences, draws=50, seed=3)
    rng = np.random.default_rng(3)
    weights, of_sets = rng.dirichlet(np.ones(12), 50), rng.dirichlet(np.ones(9), (50, 3))
    of_sets = 1 / 9 + np.sqrt(10 / 8) * (of_sets - 1 / 9)
    advantages = []
    for weight, shares in zip(weights[:, sentences], of_sets, strict=True):
        beyond = np.empty((3, 3))
        for i, j in np.ndindex(3, 3):
            own = tags == j
            mean = [np.average(row[i, own], weights=weight[own]) for row in (changes, *controls)]
            beyond[i, j] = mean[0] - np.dot(shares[i], mean[1:])
        advantages.append(np.trace(beyond) / 3 - (beyond.sum() - np.trace(beyond)) / 6)
    assert interval == pytest.approx(tuple(np.quantile(advantages, [0.025, 0.975])))


def test_the_interval_covers_the_advantage():
    covered = 0
    for seed in range(200):
        low, high = advantage_interval(*changes_of(50, 0.4, seed), draws=300, seed=seed)
        covered += low < 0.4 < high
    assert 180 <= covered <= 199


@pytest.mark.parametrize("n_sets", [5, 20])
def test_few_sets_vary_as_much_as_they_do(n_sets):
    """If sentences are equal, the interval has the standard error of the mean controls."""
    rng, tags, sentences = np.random.default_rng(0), np.arange(60) % 3, np.arange(60) // 3
    variances, spreads = [], []
    for seed in range(300):
        controls = rng.normal(size=(n_sets, 3, 3))[:, :, tags]
        low, high = advantage_interval(np.zeros((3, 60)), controls, tags, sentences, draws=400, seed=seed)
        variances.append(((high - low) / 2 / 1.96) ** 2)
        spreads.append(np.einsum("sij,ij->", controls[:, :, :3], np.eye(3) / 3 - (1 - np.eye(3)) / 6) / n_sets)
    assert np.mean(variances) == pytest.approx((1 / 3 + 1 / 6) / n_sets, rel=0.12)
    assert np.mean(variances) == pytest.approx(np.var(spreads), rel=0.3)


def test_a_rare_tag_has_an_interval():
    changes, controls, tags, sentences = changes_of(12, 0, 0)
    tags[tags == 2] = 0
    tags[5] = 2  # a tag with one word
    low, high = advantage_interval(changes, controls, tags, sentences, draws=200, seed=0)
    assert np.isfinite([low, high]).all()
    with pytest.raises(ValueError, match="changes must be finite"):
        advantage_interval(np.full_like(changes, np.nan), controls, tags, sentences, draws=9, seed=0)


def test_effects_are_compared_with_their_controls():
    controls = np.array([1.0, 2, 3, 4])
    result = effect(4.0, controls, 0.05)
    assert (result.change, result.control_mean, result.p_value) == (4.0, 2.5, 2 / 5)
    assert result.control_std == pytest.approx(np.std(controls, ddof=1))
    assert result.effect_size == pytest.approx(1.5 / result.control_std)
    assert result.detectable is None  # p is at least 1/5
    assert effect(4.0, controls, 0.2).detectable == pytest.approx(1.5 + 0.8416 * result.control_std, abs=1e-3)
    assert effect(4.0, controls, 0.4).detectable == pytest.approx(0.5 + 0.8416 * result.control_std, abs=1e-3)
    assert effect(1.0, np.ones(3), 0.05).effect_size == 0
    assert effect(2.0, np.ones(3), 0.05).effect_size is None
    assert effect(0.1, np.full(3, 0.1), 0.05).effect_size == 0  # the float mean is not exactly 0.1
    assert effect(0.3, np.full(7, 0.1), 0.05).effect_size is None
    with pytest.raises(ValueError, match="an effect needs at least 2 control sets, got 1"):
        effect(1.0, np.ones(1), 0.05)


@pytest.mark.parametrize("n_sets", [20, 99])
def test_a_change_of_the_detectable_size_is_found_in_four_of_five_runs(n_sets):
    found = []
    for controls, lesions in zip(noise(2000, n_sets), noise(2000, seed=1), strict=True):
        least = effect(0.0, controls, 0.05).detectable
        found.append(effect(controls.mean() + least + lesions, controls, 0.05).p_value <= 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def sequential(change: float, controls: np.ndarray, stopping: Stopping, first: int = 5) -> Effect:
    """The effect from the first 5 controls, and more in rounds of 5 until the test is over."""
    n = next(n for n in range(first, 99, 5) if stopping.is_over(change, controls[:n]))
    return effect(change, controls[:n], 0.05, stopping)


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["equal", "stronger"])
def test_a_sequential_test_says_what_it_would_have_found(shift):
    """Whatever the change was, new lesions of this size are found in about 80 % of runs."""
    stopping, found, sizes, n_sets, errors = Stopping(3, 20), [], [], [], []
    for row, new, lesion in zip(noise(3000, 20), noise(3000, 20, seed=2), noise(3000, seed=1), strict=True):
        result = sequential(lesion + shift, row, stopping)
        sizes.append(result.detectable)
        n_sets.append(result.sets)
        errors.append(result.control_mean)
        found.append(sequential(result.detectable + lesion, new, stopping).p_value <= 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)
    assert set(n_sets) == {5, 10, 15, 20}
    assert np.mean(sizes) == pytest.approx(1.867 + 0.8416, abs=0.25)  # 1.867: expected largest of 20
    assert 0 <= np.mean(errors) <= 0.1  # the mean of the control sets is too high, in standard deviations


@pytest.mark.parametrize(
    ("lesioned", "controls", "options", "message"),
    [
        (np.zeros((1, 1)), np.zeros((3, 1, 1)), {}, "at least 2"),
        (np.zeros((4, 4)), np.full((3, 4, 4), np.nan), {}, "changes must be finite, got 48 that are not"),
        (np.zeros((4, 4)), np.zeros((3, 4, 4)), {"alpha": 1.5}, "alpha between 0 and 1, got 1000 and 1.5"),
        (np.zeros((4, 4)), np.zeros((3, 4, 4)), {"permutations": 0}, "permutations must be at least 1"),
    ],
)
def test_invalid_input_is_rejected(lesioned, controls, options, message):
    with pytest.raises(ValueError, match=message):
        dissociation(lesioned, controls, NAMES[: len(lesioned)], **{**OPTIONS, **options})
    with pytest.raises(ValueError, match="a bootstrap needs at least 1 word and 1 resample, got 3 and 0"):
        bootstrap_interval(np.zeros(3), np.arange(3), draws=0, seed=0)


def test_non_finite_changes_are_rejected():
    with pytest.raises(ValueError, match="changes must be finite, got 1 that are not"):
        bootstrap_interval(np.array([0, np.nan]), np.arange(2), draws=5, seed=0)
    with pytest.raises(ValueError, match="changes must be finite, got 1 that are not"):
        mean_changes(np.array([[0, np.nan]]), np.arange(2), 2)
