"""Partial correlations against matrix inversion, and confounded key neurons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, pearsonr
from scipy.stats import t as student

from keyneurons.analysis.confounds import confounds_of, partial_correlations, pearson
from keyneurons.records import KeyNeuron, NeuronSets


def noise(words: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((words, columns))


def by_inversion(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """``-P_xy / sqrt(P_xx P_yy)``, P the inverse correlation matrix of x, y and the confounds."""
    precision = np.linalg.inv(np.corrcoef(np.column_stack([x, y, given]), rowvar=False))
    return -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pearson_equals_scipy(dtype):
    x, y = noise(60, 4).astype(dtype), noise(60, 3, seed=1)
    y[:, 0] += x[:, 0] * 5 + 1e4
    r = pearson(x, y)
    for i, a in enumerate(x.T.astype(np.float64)):
        assert r[i] == pytest.approx([pearsonr(a, b).statistic for b in y.T], rel=1e-9)
    assert abs(r[0, 0]) > 0.8


def test_constant_columns_give_zero():
    x = noise(50, 3)
    x[:, 1] = 0.1  # not exact in binary
    assert pearson(x, x)[1].tolist() == pearson(x, x)[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert pearson(x, x).diagonal() == pytest.approx([1, 0, 1])
    r, p = partial_correlations(x, x, noise(50, 2, seed=1))
    assert (r[1].tolist(), p[1].tolist()) == ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])


def test_partial_correlation_equals_matrix_inversion():
    given = noise(80, 3)
    x = given @ noise(3, 4, seed=1) + noise(80, 4, seed=2)
    y = given @ noise(3, 2, seed=3) + x[:, :2] * 0.4 + noise(80, 2, seed=4)
    r, p = partial_correlations(x, y, given)
    for i in range(4):
        for j in range(2):
            oracle = by_inversion(x[:, i], y[:, j], given)
            t = oracle * np.sqrt((80 - 2 - 3) / (1 - oracle**2))
            assert r[i, j] == pytest.approx(oracle, rel=1e-9)
            assert p[i, j] == pytest.approx(2 * student.sf(abs(t), 75), rel=1e-9)


def test_without_confounds_it_is_the_plain_correlation():
    x, y = noise(40, 2), noise(40, 2, seed=1)
    r, p = partial_correlations(x, y, np.empty((40, 0)))
    oracle = pearsonr(x[:, 1], y[:, 0])
    assert (r[1, 0], p[1, 0]) == pytest.approx((oracle.statistic, oracle.pvalue), rel=1e-9)


def test_constant_and_collinear_confounds_are_harmless():
    x, y, given = noise(50, 3), noise(50, 2, seed=1), noise(50, 2, seed=2)
    more = np.column_stack([given, np.full(50, 0.1), given @ [2.0, -1.0] + 7, given[:, 0] * 1e6])
    assert np.linalg.matrix_rank(np.corrcoef(given, rowvar=False)) == 2
    for ours, oracle in zip(partial_correlations(x, y, more), partial_correlations(x, y, given), strict=True):
        np.testing.assert_allclose(ours, oracle, rtol=1e-9)


def test_invariant_to_shift_and_scale():
    x, y, given = noise(50, 2), noise(50, 2, seed=1), noise(50, 2, seed=2)
    moved = partial_correlations(x * 1e-6 + 3, y * 50 - 1e3, given * [1e5, 1e-5] + 9)
    for ours, oracle in zip(moved, partial_correlations(x, y, given), strict=True):
        np.testing.assert_allclose(ours, oracle, rtol=1e-6)


def test_fully_explained_neurons_have_no_partial_correlation():
    given = noise(50, 2)
    x = np.column_stack([given @ [1.0, 2.0], given @ [1.0, 2.0] + 1e-3 * noise(50, 1, seed=1)[:, 0]])
    r, p = partial_correlations(x, x, given)
    assert r[0].tolist() == [0.0, 0.0]
    assert p[0].tolist() == [1.0, 1.0]
    assert r[1, 1] == pytest.approx(1)  # control: a thousandth of independent variance still counts


def test_p_values_are_uniform_if_a_confound_causes_the_correlation():
    given = noise(400, 1)
    x, y = given + noise(400, 1000, seed=1), given + noise(400, 1, seed=2)
    assert pearson(x, y).min() > 0.3
    p = partial_correlations(x, y, given)[1]
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert p.mean() == pytest.approx(0.5, abs=0.04)


def test_too_few_words_are_rejected():
    three = noise(6, 3)
    assert partial_correlations(noise(6, 1), noise(6, 1, seed=1), three)[1] < 1
    with pytest.raises(ValueError, match="given 3 independent confounds needs at least 6 words, got 5"):
        partial_correlations(noise(5, 1), noise(5, 1, seed=1), noise(5, 3, seed=2))
    with pytest.raises(ValueError, match="at least 1 word and finite values, got 0 words"):
        pearson(noise(0, 2), noise(0, 2))
    with pytest.raises(ValueError, match="at least 1 word and finite values, got 2 that are not"):
        pearson(np.array([[np.nan, 1], [2, np.inf]]), noise(2, 2))


NAMES = ("ADJ", "NOUN", "VERB")
MARKS, FOLLOWS, TURNS, OTHER = range(4)


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MARKS marks NOUN; FOLLOWS follows a confound of NOUN; TURNS marks NOUN against it."""
    rng = np.random.default_rng(0)
    tags = rng.integers(3, size=600)
    noun = tags == 1
    features = np.column_stack([2.0 * noun + rng.standard_normal(600), rng.standard_normal(600)])
    quiet = rng.standard_normal((600, 4))
    follows = features[:, 0]
    signal = np.column_stack([2 * noun, follows, 2 * follows - 2 * noun, np.zeros(600)])
    return (signal + 0.5 * quiet).astype(np.float32), tags, features


def sets_of(**tags: list[int]) -> NeuronSets:
    return NeuronSets("mlp", (3,), 50, {tag: tuple(KeyNeuron(3, 10 + n, 1.0) for n in tags[tag]) for tag in tags})


def test_confounded_neurons_are_distinguished_from_marking_ones():
    activations, tags, features = planted()
    result = confounds_of(
        sets_of(ADJ=[], NOUN=[TURNS, MARKS, FOLLOWS], VERB=[OTHER]), activations, tags, NAMES, features
    )
    assert list(result) == ["ADJ", "NOUN", "VERB"]
    assert result["ADJ"] == ()
    turns, marks, follows = result["NOUN"]
    plain = pearson(activations, (tags == 1)[:, None].astype(float))[:, 0]
    assert (plain[[TURNS, MARKS, FOLLOWS]] > 0.4).all()  # all three correlate with it
    assert [record.vanishes for record in (turns, marks, follows)] == [True, False, True]
    assert turns.partial < -0.5
    assert turns.p_adjusted < 1e-6
    assert follows.p_adjusted > 0.05
    assert marks.partial > 0.5
    for record, neuron in ((turns, TURNS), (marks, MARKS), (follows, FOLLOWS)):
        assert record.with_tag == pytest.approx(plain[neuron])
        oracle = [pearsonr(activations[:, neuron].astype(float), f).statistic for f in features.T]
        assert record.correlations == pytest.approx(oracle, rel=1e-9)
        indicator = (tags == 1).astype(float)
        assert record.partial == pytest.approx(by_inversion(activations[:, neuron], indicator, features), rel=1e-6)


def test_p_values_are_adjusted_over_all_pairs_of_all_tags():
    activations, tags, features = planted()
    sets = sets_of(VERB=[OTHER, MARKS], NOUN=[MARKS, FOLLOWS], ADJ=[FOLLOWS])
    narrow = activations[:, [MARKS, FOLLOWS, OTHER]]
    result = confounds_of(sets, narrow, tags, NAMES, features)
    p = partial_correlations(narrow, (tags[:, None] == np.arange(3)).astype(float), features)[1]
    oracle = false_discovery_control([p[2, 2], p[0, 2], p[0, 1], p[1, 1], p[1, 0]])
    ours = [record.p_adjusted for tag in ("VERB", "NOUN", "ADJ") for record in result[tag]]
    assert ours == pytest.approx(oracle.tolist(), rel=1e-9)
    records = [record for tag in result for record in result[tag]]
    assert [record.vanishes for record in records] == [
        p > 0.05 or record.partial / record.with_tag < 0.5 for p, record in zip(ours, records, strict=True)
    ]
    strict = confounds_of(sets, narrow, tags, NAMES, features, alpha=1e-300)
    assert all(record.vanishes for tag in strict for record in strict[tag])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_significant_neuron_vanishes_if_too_little_of_its_correlation_is_left(sign):
    """With 5,000 words a tenth of r is significant, but the rest is due to the confound."""
    rng = np.random.default_rng(0)
    tags = rng.integers(2, size=5000)
    features = (3.0 * tags + rng.standard_normal(5000))[:, None]
    x = (sign * (features + 0.5 * tags[:, None] + rng.standard_normal((5000, 1)))).astype(np.float32)
    sets = NeuronSets("mlp", (3,), 1, {"B": (KeyNeuron(3, 0, 1.0),)})
    share = None
    for limit in (0.05, 0.5, 0.95):
        [record] = confounds_of(sets, x, tags, ("A", "B"), features, share=limit)["B"]
        share = record.partial / record.with_tag
        assert record.p_adjusted < 1e-6
        assert record.vanishes == (share < limit)
    assert 0.05 < share < 0.5


def test_no_key_neurons():
    _, tags, features = planted()
    assert confounds_of(sets_of(NOUN=[], VERB=[]), np.empty((600, 0)), tags, NAMES, features) == {
        "NOUN": (),
        "VERB": (),
    }


def test_input_is_unchanged():
    activations, tags, features = planted()
    activations = activations.astype(np.float64)
    before = [array.copy() for array in (activations, tags, features)]
    confounds_of(sets_of(NOUN=[0, 1, 2, 3]), activations, tags, NAMES, features)
    assert all(np.array_equal(a, b) for a, b in zip(before, (activations, tags, features), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.0}, "alpha must lie between 0 and 1, got 1.0"),
        ({"share": 0.0}, "share must lie between 0 and 1, got 0.0"),
        ({"activations": noise(600, 3)}, "got activations of 3 neurons, but the key sets together have 4"),
        ({"tag_names": ("ADJ", "X", "VERB")}, "every tag with key neurons needs a word, got none for NOUN"),
        ({"tags": np.zeros(600, dtype=int)}, "every tag with key neurons needs a word, got none for NOUN"),
    ],
)
def test_invalid_input_is_rejected(changes, message):
    activations, tags, features = planted()
    arguments = {"activations": activations, "tags": tags, "tag_names": NAMES, "features": features, **changes}
    with pytest.raises(ValueError, match=message):
        confounds_of(sets_of(NOUN=[0, 1, 2, 3]), **arguments)
