"""Principal axes are scikit-learn's, exact or approximate; rotations are uniform and orthogonal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from keyneurons.analysis import axes
from keyneurons.analysis.axes import principal_axes, random_orthogonal


def spread(words: int = 200, width: int = 40, seed: int = 0) -> torch.Tensor:
    """Centred values with variances that fall from axis to axis, rotated."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(words, width)) * np.linspace(4, 0.1, width) @ random_orthogonal(width, seed)
    return torch.from_numpy(values - values.mean(axis=0)).float()


@pytest.mark.parametrize("exact", [True, False])
def test_axes_are_those_of_scikit_learn(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(axes, "EXACT_WIDTH", 40 if exact else 39)
    values = spread()
    own, theirs = principal_axes(values, 7, seed=0).numpy(), PCA(7, svd_solver="full").fit(values.numpy()).components_
    assert own.shape == (40, 7)
    assert np.abs((own.T * theirs).sum(axis=1)) == pytest.approx(1, abs=1e-3)  # the sign is arbitrary
    variances = (values.numpy() @ own).var(axis=0)
    assert variances == pytest.approx(np.sort(variances)[::-1])


def test_no_more_components_than_words_or_neurons() -> None:
    with pytest.raises(ValueError, match=r"components must lie in 1\.\.6 .* got 7"):
        principal_axes(spread(words=6), 7, seed=0)


def test_a_rotation_keeps_lengths_and_angles_and_follows_its_seed() -> None:
    one = random_orthogonal(50, 3)
    assert one @ one.T == pytest.approx(np.eye(50), abs=1e-12)
    assert np.array_equal(one, random_orthogonal(50, 3))
    assert not np.allclose(one, random_orthogonal(50, 4))


def test_rotations_are_uniform() -> None:
    """An entry of a uniform matrix of width 3 is uniform on -1..1; without the signs it is not."""
    drawn = np.array([random_orthogonal(3, seed) for seed in range(2000)])
    for place in ((0, 0), (2, 2), (1, 0)):
        assert stats.kstest(drawn[:, *place], stats.uniform(-1, 2).cdf).pvalue > 0.01
    without = np.array([np.linalg.qr(np.random.default_rng(s).normal(size=(3, 3)))[0][0, 0] for s in range(500)])
    assert stats.kstest(without, stats.uniform(-1, 2).cdf).pvalue < 1e-6
