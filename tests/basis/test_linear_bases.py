"""Linear bases: the identity, rotations, and principal components against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from models import sentences
from sklearn.decomposition import PCA

from keyneurons.artifacts.basis import read_components, write_components
from keyneurons.basis.basis import NEURONS
from keyneurons.basis.linear import Directions, Linear
from keyneurons.basis.pca import UNFITTED, Covariance, pca
from keyneurons.basis.rotation import rotation
from keyneurons.pipeline.activations import read_activations
from keyneurons.pipeline.basis import with_fitted_basis
from keyneurons.pipeline.stored_rows import StoredRows
from keyneurons.records import LabelledWords, Labels, Treebank
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.l1_probe import L1Probe
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.scoring import Driver

WIDTH = 24


def values_of(n: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH))
    return (mixed + rng.normal(size=WIDTH) * 5).astype(np.float16)


def linear(axes: torch.Tensor) -> Linear:
    return Linear("rotation", "test", {4: Directions(axes, torch.zeros(len(axes)))})


def scores(array, method) -> torch.Tensor:
    tags = np.arange(array.shape[0]) % 3
    return Driver({4: array}, np.arange(array.shape[0]), 3, "mlp", "layer").scores(method, tags).values


@pytest.mark.parametrize("method", [Correlation(), MutualInformation(4), L1Probe(5)], ids=lambda m: type(m).__name__)
def test_the_identity_gives_the_results_of_neurons_bit_for_bit(method) -> None:
    values = values_of()
    units = linear(torch.eye(WIDTH)).stored(4, values)
    assert torch.equal(scores(units, method), scores(values.astype(np.float32), method))


def test_probes_read_the_activations_of_neurons_from_the_identity() -> None:
    values, rows, columns = values_of(), np.array([8, 3, 3]), np.array([0, 7, 30, 47])
    both = [StoredRows([make(values), make(values_of(seed=1))], rows, columns).all() for make in (np.float32, units_of)]
    assert torch.equal(*both)


def units_of(values: np.ndarray):
    return linear(torch.eye(WIDTH)).stored(4, values)


def test_a_rotation_undone_gives_the_scores_of_neurons() -> None:
    values, turn = values_of().astype(np.float32), rotation(WIDTH, 3).by_layer[4].axes
    turned = linear(turn).stored(4, values).read(np.arange(300), None)
    undone = linear(turn.T.contiguous()).stored(4, turned)
    torch.testing.assert_close(scores(undone, Correlation()), scores(values, Correlation()), atol=1e-5, rtol=1e-4)
    assert not np.allclose(
        scores(linear(turn).stored(4, values), Correlation()), scores(values, Correlation()), atol=0.01
    )


def test_a_rotation_is_orthogonal_and_of_its_seed_and_layer() -> None:
    drawn = rotation(WIDTH, 0)
    axes = drawn.by_layer[4].axes
    torch.testing.assert_close(axes.T @ axes, torch.eye(WIDTH), atol=1e-5, rtol=0)
    assert torch.equal(axes, rotation(WIDTH, 0).by_layer[4].axes)
    assert not torch.equal(axes, drawn.by_layer[5].axes)
    assert rotation(WIDTH, 1).digest != drawn.digest == rotation(WIDTH, 0).digest


def test_some_units_are_those_of_all() -> None:
    units, rows = rotation(WIDTH, 0).stored(4, values_of()), np.array([3, 3, 0, 299])
    every = units.read(rows, None)
    assert every.shape == (4, WIDTH) == (4, units.shape[1])
    np.testing.assert_allclose(units.read(rows, slice(5, 9)), every[:, 5:9], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(units.read(rows, np.array([7, 2])), every[:, [7, 2]], rtol=1e-4, atol=1e-4)


def fitted(values: np.ndarray, pieces: int = 3) -> Directions:
    covariance = Covariance()
    for piece in np.array_split(values, pieces):
        covariance.add(torch.from_numpy(piece))
    return covariance.directions()


def test_components_are_those_of_scikit_learn() -> None:
    values = values_of()
    expected = PCA(svd_solver="full").fit(values.astype(np.float64))
    own = fitted(values)
    cosines = np.abs((own.axes.numpy().T * expected.components_).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    np.testing.assert_allclose(own.centre, expected.mean_, rtol=1e-5)
    encoded = pca({4: own}).encode(4, torch.from_numpy(values)).double().numpy()
    np.testing.assert_allclose(encoded.var(axis=0, ddof=1), expected.explained_variance_, rtol=1e-3)


def test_the_largest_loading_is_positive_and_the_pieces_do_not_matter() -> None:
    one, many = fitted(values_of(), 1), fitted(values_of(), 7)
    largest = one.axes.abs().argmax(dim=0)
    assert (one.axes[largest, torch.arange(WIDTH)] > 0).all()
    torch.testing.assert_close(one.axes, many.axes, atol=1e-5, rtol=0)


def test_a_component_without_variance_is_0_on_all_words() -> None:
    values = values_of()
    values[:, 5] = 7.0
    own = fitted(values)
    assert (own.axes.norm(dim=0) == 0).nonzero().flatten().tolist() == [WIDTH - 1]
    assert (pca({4: own}).encode(4, torch.from_numpy(values))[:, -1] == 0).all()
    few = fitted(values_of(9))
    assert int((few.axes.norm(dim=0) > 0).sum()) == 8


def test_components_need_two_words() -> None:
    with pytest.raises(ValueError, match="at least 2 train words, got 1"):
        fitted(values_of(1), 1)


def test_a_change_of_units_leaves_what_is_orthogonal() -> None:
    basis, units = rotation(WIDTH, 0), torch.tensor([2, 5])
    values = torch.from_numpy(values_of()).float()
    coordinates = basis.encode(4, values)
    new = values.clone()
    basis.change(4, new, units, coordinates[:, units], torch.zeros(300, 2))
    expected = coordinates.clone()
    expected[:, units] = 0
    torch.testing.assert_close(basis.encode(4, new), expected, atol=1e-3, rtol=1e-4)


def treebank() -> Treebank:
    every = sentences()
    return Treebank("toy", {"train": every[:6], "dev": every[:2], "test": every[2:4]})


def test_components_are_fitted_on_train_words_alone(reader) -> None:
    read, bank = reader(basis=UNFITTED, dtype="float32"), treebank()
    own = with_fitted_basis(read, bank, True)
    words = read.of_neurons()(bank.splits["train"], "train")
    for layer in read.layers:
        torch.testing.assert_close(own.basis.by_layer[layer].axes, fitted(np.array(words[layer])).axes)
    other = replace(bank, splits={**bank.splits, "dev": sentences()[4:5], "test": sentences()[5:6]})
    assert with_fitted_basis(read, other, True).basis.digest == own.basis.digest
    streamed = with_fitted_basis(read, bank, "moments").basis
    torch.testing.assert_close(streamed.by_layer[2].axes, own.basis.by_layer[2].axes, atol=1e-4, rtol=0)
    assert with_fitted_basis(read.of_neurons(), bank, True).basis is NEURONS


def test_moments_and_columns_of_units_are_those_of_stored_activations(reader) -> None:
    bank, basis = treebank(), rotation(32, 0)
    rows = {split: np.arange(bank.n_words(split)) for split in bank.splits}
    words = {split: LabelledWords(own, own % 3, tuple(f"w{i}" for i in own)) for split, own in rows.items()}
    labels, columns = Labels("upos", ("A", "B", "C"), words), np.array([0, 31, 40])
    found = {}
    for store in (True, "moments"):
        activations = read_activations(reader(basis=basis), bank, store=store)
        source = activations.source(labels, "layer", 2**24)
        scored = Correlation().scores(source, words["train"].tags).values
        found[store] = scored, activations.columns(labels, columns)["test"].float()
    for stored, summed in zip(*found.values(), strict=True):
        torch.testing.assert_close(stored, summed, atol=1e-4, rtol=1e-3)
    neurons = read_activations(reader(), bank, store="moments").source(labels, "layer", 2**24)
    assert not torch.allclose(Correlation().scores(neurons, words["train"].tags).values, found[True][0], atol=0.01)
    sample = read_activations(reader(basis=basis), bank, store="moments").of_train(rows["train"][::2])
    every = read_activations(reader(basis=basis), bank, store=True)
    few = sample.arrays["train"][2].read(np.arange(5), None)
    np.testing.assert_allclose(few, every.arrays["train"][2].read(np.arange(0, 10, 2), None), rtol=1e-4, atol=1e-4)


def test_results_in_the_cache_are_of_their_basis(reader) -> None:
    bank = treebank()
    every = [reader(basis=basis) for basis in (NEURONS, rotation(32, 0), rotation(32, 1))]
    identities = [str(read_activations(read, bank, store=True).identity()) for read in every]
    assert len(set(identities)) == 3
    assert len({str(sorted(read.key(bank.splits["train"]).items())) for read in every}) == 1


def test_components_are_read_as_they_were_written(tmp_path) -> None:
    own = pca({2: fitted(values_of()), 4: fitted(values_of(seed=1))})
    write_components(tmp_path / "basis.safetensors", own, "mlp")
    assert read_components(tmp_path, "mlp", WIDTH, (4,)).digest == own.digest
    for site, width, layers, problem in [
        ("residual", WIDTH, (4,), r"components of mlp \(24 neurons\), this run reads residual"),
        ("mlp", 32, (4,), "this run reads mlp"),
        ("mlp", WIDTH, (4, 5), "but not of layer 5"),
    ]:
        with pytest.raises(ValueError, match=problem):
            read_components(tmp_path, site, width, layers)
    (tmp_path / "basis.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"cannot be read as components of basis=pca"):
        read_components(tmp_path, "mlp", WIDTH, (4,))
