"""Latents of sparse autoencoders: encoded, found, lesioned, and read in bounded memory."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from autoencoders import random_sae, relu, save_sae, topk, without_threshold
from planting import case

from keyneurons.basis.sae import Autoencoder, Autoencoders
from keyneurons.basis.sae_files import read_autoencoder
from keyneurons.basis.sparse import SparseUnits
from keyneurons.lesion.conditions import apply_conditions
from keyneurons.lesion.modes import Lesion, Means
from keyneurons.pipeline.controls.control import NotApplicable
from keyneurons.pipeline.controls.pca import PrincipalComponents
from keyneurons.pipeline.controls.random_rotation import RandomRotation
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.scoring import Driver

LAYER = 4


def basis_of(tensors, tmp_path, k: int | None = None) -> Autoencoders:
    settings = {"architecture": "standard", "apply_b_dec_to_input": True}
    if k is not None:
        settings |= {"architecture": "topk", "k": k}
    path = save_sae(tmp_path / "sae.safetensors", without_threshold(tensors), settings)
    return Autoencoders({LAYER: read_autoencoder(path, tmp_path / "cfg.json")[0]})


def words(n: int = 200, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).normal(size=(n, width)).astype(np.float16)


@pytest.mark.parametrize("k", [None, 3])
def test_latents_are_read_as_dense_arrays_would_be(tmp_path, k) -> None:
    tensors, x = random_sae(), words()
    units = basis_of(tensors, tmp_path, k).stored(LAYER, x)
    wide = x.astype(np.float32)
    expected = relu(wide, tensors) if k is None else topk(wide, tensors, k)
    rows = np.array([5, 5, 0, 199])
    assert units.shape == (200, 9)
    np.testing.assert_allclose(units.read(np.arange(200), None), expected, atol=1e-5)
    np.testing.assert_allclose(units.read(rows, slice(2, 6)), expected[rows, 2:6], atol=1e-5)
    np.testing.assert_allclose(units.read(rows, np.array([8, 1])), expected[rows][:, [8, 1]], atol=1e-5)


@pytest.mark.parametrize("method", [Correlation(), MutualInformation(4)], ids=lambda m: type(m).__name__)
def test_scores_of_latents_are_those_of_their_dense_array(tmp_path, method) -> None:
    tensors, x, tags = random_sae(), words(), np.arange(200) % 3
    units = basis_of(tensors, tmp_path, 3).stored(LAYER, x)
    dense = units.read(np.arange(200), None)
    own, expected = (
        Driver({LAYER: array}, np.arange(200), 3, "residual", "layer").scores(method, tags).values
        for array in (units, dense)
    )
    assert torch.equal(own, expected)


def test_a_planted_latent_is_found(tmp_path) -> None:
    """A tag moves words along one row of the decoder, which no single neuron has."""
    tensors = random_sae(width=16, latents=40, seed=2)
    tensors["W_dec"] /= np.linalg.norm(tensors["W_dec"], axis=1, keepdims=True)
    tensors |= {"W_enc": np.ascontiguousarray(tensors["W_dec"].T), "b_enc": np.full(40, -1.0, np.float32)}
    x, tags = words(600, 16).astype(np.float32), np.arange(600) % 2
    x += 3 * tags[:, None] * tensors["W_dec"][23]
    units = basis_of(tensors, tmp_path).stored(LAYER, x)
    scores = Driver({LAYER: units}, np.arange(600), 2, "residual", "layer").scores(Correlation(), tags).values
    assert int(scores[1].argmax()) == 23


@pytest.mark.parametrize("mode", ["zero", "mean", "keep_only"])
def test_a_lesion_moves_along_the_decoder_and_keeps_the_error(tmp_path, mode) -> None:
    tensors, basis = random_sae(), basis_of(random_sae(), tmp_path)
    x = torch.from_numpy(words().astype(np.float32)).view(1, 20, 10, 6)
    means = Means((LAYER,), torch.full((9,), 0.5), torch.zeros(1, 9))
    condition = Lesion(mode, basis=basis).condition([2, 7], 0, ["NOUN"], means)
    new = apply_conditions([condition], LAYER, x)
    latents = relu(x.numpy(), tensors)
    after = latents.copy()
    lesioned = [i for i in range(9) if i not in {2, 7}] if mode == "keep_only" else [2, 7]
    after[..., lesioned] = 0.5 if mode == "mean" else 0.0
    np.testing.assert_allclose(new - x, (after - latents) @ tensors["W_dec"], atol=1e-4)
    directions = tensors["W_dec"][lesioned]
    beside = np.eye(6) - directions.T @ np.linalg.pinv(directions.T)
    np.testing.assert_allclose((new - x).numpy() @ beside, 0, atol=1e-4)


def test_where_a_latent_is_not_active_a_lesion_changes_nothing(tmp_path) -> None:
    basis, x = basis_of(random_sae(), tmp_path), torch.from_numpy(words().astype(np.float32)).view(1, 20, 10, 6)
    condition = Lesion("zero", basis=basis).condition(
        [3], 0, ["NOUN"], Means((LAYER,), torch.zeros(9), torch.zeros(1, 9))
    )
    off = basis.encode(LAYER, x)[..., 3] == 0
    assert 0 < off.sum() < off.numel()
    assert torch.equal(apply_conditions([condition], LAYER, x)[off], x[off])


def test_131072_latents_are_never_held_dense() -> None:
    """A dense array of these words would need 262 MB."""
    latents, n, width = 131_072, 500, 8
    generator = torch.Generator().manual_seed(0)
    encoder = torch.randn(width, latents, generator=generator)
    own = Autoencoder(encoder, torch.zeros(latents), encoder.T.contiguous(), torch.zeros(width), "topk", False, k=32)
    x, tags = words(n, width), np.arange(n) % 3
    tracemalloc.start()
    units = Autoencoders({LAYER: own}).stored(LAYER, x)
    driver = Driver({LAYER: units}, np.arange(n), 3, "residual", "layer", budget_bytes=2**26)
    correlations = driver.scores(Correlation(), tags).values
    first, block = next(driver.columns(per_neuron=True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 90e6
    assert correlations.shape == (3, latents)
    np.testing.assert_array_equal(block.numpy(), units.read(np.arange(n), slice(first, first + block.shape[1])))
    assert (
        sum(int((units.read(np.arange(3), slice(i, i + 2**14)) > 0).sum()) for i in range(0, latents, 2**14)) <= 3 * 32
    )


def test_latents_that_exceed_the_memory_are_refused(tmp_path, monkeypatch) -> None:
    basis = basis_of(random_sae(), tmp_path)
    monkeypatch.setattr("keyneurons.basis.sparse.SHARE", 1e-12)
    units = basis.stored(LAYER, words())
    assert isinstance(units, SparseUnits)
    with pytest.raises(ValueError, match=r"of 9 latents are active on a word, and those of 200 words need"):
        units.read(np.arange(2), None)


@pytest.mark.parametrize("control", [PrincipalComponents(), RandomRotation(1)], ids=lambda each: type(each).__name__)
def test_a_control_of_more_units_than_fit_is_not_measured(monkeypatch, control) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(NotApplicable, match="30 neurons of a layer need"):
        control(case())


def test_donors_of_a_lesion_are_units(tmp_path) -> None:
    basis, x = basis_of(random_sae(), tmp_path), torch.from_numpy(words().astype(np.float32)).view(1, 20, 10, 6)
    condition = Lesion("resample", basis=basis).condition(
        [3, 4], 0, ["A"], Means((LAYER,), torch.zeros(9), torch.zeros(1, 9))
    )
    donated = torch.rand(20, 10, 9)
    moved = apply_conditions([condition], LAYER, x, donated=donated) - x
    before = torch.from_numpy(relu(x.numpy(), random_sae()))[..., 3:5]
    expected = (donated[..., 3:5] - before) @ torch.from_numpy(random_sae()["W_dec"][3:5])
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)
