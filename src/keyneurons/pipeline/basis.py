"""Fits a basis that depends on the text to the activations of the train words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.arrays import read_array
from keyneurons.basis.pca import UNFITTED, Covariance, fitted_pca
from keyneurons.choices import Store
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.progress import stage
from keyneurons.records import Treebank

WORDS_AT_ONCE = 1024


def with_fitted_basis(read: ActivationReader, treebank: Treebank, store: Store) -> ActivationReader:
    """The reader with the basis of a text: principal components are fitted on all its train words.

    No dev or test word and no tag is used. Other bases are returned as they are.
    """
    if read.basis != UNFITTED:
        return read
    covariances = {layer: Covariance() for layer in read.layers}
    for values in _pieces(read.of_neurons(), treebank, store):
        for layer, own in values.items():
            covariances[layer].add(own)
    with stage("principal components"):
        return replace(read, basis=fitted_pca(covariances))


def _pieces(
    read: ActivationReader, treebank: Treebank, store: Store
) -> Iterator[Mapping[int, Float[Tensor, "some neurons"]]]:
    """The activations of all train words by layer, some words at a time."""
    if store != "moments":
        arrays = StoredActivations.of(read, treebank).arrays["train"]
        n_words = treebank.n_words("train")
        for first in range(0, n_words, WORDS_AT_ONCE):
            rows = np.arange(first, min(first + WORDS_AT_ONCE, n_words))
            yield {layer: torch.from_numpy(read_array(array, rows)) for layer, array in arrays.items()}
        return
    for _, by_site in read.stream(treebank.splits["train"], "train"):
        yield by_site[read.site]
