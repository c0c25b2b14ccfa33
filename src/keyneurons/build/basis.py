"""The basis of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from keyneurons.artifacts.basis import read_components
from keyneurons.basis.basis import NEURONS, Basis
from keyneurons.basis.pca import UNFITTED
from keyneurons.basis.rotation import rotation
from keyneurons.basis.sae_source import Place, SAESource
from keyneurons.config import inputs, schema
from keyneurons.models.families import GEMMA2, path_at
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.norms import feed_forward_norm
from keyneurons.records import Site


def build_basis(config: schema.Config, model: LanguageModel, layers: Sequence[int]) -> Basis:
    """The units that a run reads; a basis that is fitted by the run is not fitted yet.

    Raises:
        ValueError: a file cannot be read, or is of another model, site, layer or width.
        FileNotFoundError: a file is missing and cannot be fetched.
    """
    return BASES[type(config.basis)](config.basis, model, config.site, layers)


def _pca(basis: inputs.PCABasis, model: LanguageModel, site: Site, layers: Sequence[int]) -> Basis:
    if basis.file is None:
        return UNFITTED
    return read_components(basis.file.expanduser(), site, model.width(site), layers)


def _sae(basis: inputs.SAEBasis, model: LanguageModel, site: Site, layers: Sequence[int]) -> Basis:
    source = SAESource(str(basis.file), basis.id, basis.revision, basis.any_model)
    return source.fetch(layers, Place(model.files.id, site, model.width(site)))


def _transcoder(basis: inputs.TranscoderBasis, model: LanguageModel, site: Site, layers: Sequence[int]) -> Basis:
    if site != "mlp_in":
        raise ValueError(
            f"basis=transcoder reads the input of the feed-forward block: it needs site=mlp_in, got {site}"
        )
    source = SAESource(str(basis.file), basis.id, basis.revision, basis.any_model, transcoder=True, gain=basis.gain)
    path_at(model.family, "mlp_out")
    norm, norm_follows = partial(feed_forward_norm, model.unloaded("cpu")), model.family == GEMMA2
    return source.fetch(layers, Place(model.files.id, site, model.width(site), norm, norm_follows))


BASES: Mapping[type[inputs.Basis], Callable[[Any, LanguageModel, Site, Sequence[int]], Basis]] = {
    inputs.NeuronsBasis: lambda _, __, ___, ____: NEURONS,
    inputs.RotationBasis: lambda basis, model, site, _: rotation(model.width(site), basis.seed),
    inputs.PCABasis: _pca,
    inputs.SAEBasis: _sae,
    inputs.TranscoderBasis: _transcoder,
}
"""Factories of bases by kind; arguments are the section, the model, the site and the layers."""
