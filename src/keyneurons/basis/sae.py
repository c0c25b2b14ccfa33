"""Sparse autoencoders: units are latents ``f = act(W_enc (x - b_dec) + b_enc)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.arrays import Stored
from keyneurons.basis.sparse import SparseUnits, Triplets
from keyneurons.choices import Target
from keyneurons.digests import json_digest

Activation = Literal["relu", "jumprelu", "topk"]
VALUES_AT_ONCE = 2**24  # latents of a piece of words, before the activation: 64 MB in float32


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """The sparse autoencoder of one layer, in float32.

    With ``centred``, the decoder's bias is subtracted from the input. ``threshold`` is that of
    ``jumprelu`` (Rajamanoharan et al. 2024, arXiv:2407.14435), ``k`` that of ``topk`` (Gao et al.
    2024, arXiv:2406.04093). ``digest`` identifies all of it.
    """

    encoder: Float[Tensor, "neurons latents"]
    bias: Float[Tensor, " latents"]
    decoder: Float[Tensor, "latents neurons"]
    decoder_bias: Float[Tensor, " neurons"]
    activation: Activation
    centred: bool
    threshold: Float[Tensor, " latents"] | None = None
    k: int | None = None
    digest: str = ""
    _moved: dict[torch.device, Autoencoder] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.encoder.shape[0]

    @property
    def latents(self) -> int:
        """Number of latents."""
        return self.encoder.shape[1]

    def on(self, device: torch.device) -> Autoencoder:
        """The autoencoder on a device; it is copied there once."""
        if device == self.encoder.device:
            return self
        if device not in self._moved:
            self._moved[device] = replace(
                self,
                encoder=self.encoder.to(device),
                bias=self.bias.to(device),
                decoder=self.decoder.to(device),
                decoder_bias=self.decoder_bias.to(device),
                threshold=None if self.threshold is None else self.threshold.to(device),
            )
        return self._moved[device]

    def reading(self, gain: Float[Tensor, " neurons"], shift: Float[Tensor, " neurons"]) -> Autoencoder:
        """The one with the same latents that reads ``gain * x + shift`` in the place of x."""
        encoder = self.encoder / gain[:, None]
        digest = json_digest([self.digest, "gain"])
        return replace(self, encoder=encoder, bias=self.bias - shift @ encoder, digest=digest, _moved={})

    def encode(
        self, values: Num[Tensor, "words neurons"], latents: Int[Tensor, " units"] | None = None
    ) -> Float[Tensor, "words units"]:
        """The activations of some latents, or of all; words are encoded in pieces."""
        pieces = [self._piece(piece, latents) for piece in self._pieces(values)]
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    def active(self, values: Num[Tensor, "words neurons"]) -> Iterator[Triplets]:
        """The latents of some words that are not 0, piece by piece."""
        for piece in self._pieces(values):
            encoded = self._piece(piece, None)
            words, latents = encoded.nonzero(as_tuple=True)
            counts = torch.bincount(words, minlength=len(piece))
            yield Triplets(counts.numpy(), latents.int().numpy(), encoded[words, latents].numpy())

    def _pieces(self, values: Num[Tensor, "words neurons"]) -> tuple[Tensor, ...]:
        return torch.split(values, max(1, VALUES_AT_ONCE // self.latents))

    def _piece(
        self, values: Num[Tensor, "words neurons"], latents: Int[Tensor, " units"] | None
    ) -> Float[Tensor, "words units"]:
        x = values.float()
        if self.centred:
            x = x - self.decoder_bias
        if self.activation == "topk":  # needs all latents of a word
            assert self.k is not None
            largest = torch.relu(torch.addmm(self.bias, x, self.encoder)).topk(self.k, dim=1)
            encoded = torch.zeros(len(x), self.latents, device=x.device).scatter_(1, largest.indices, largest.values)
            return encoded if latents is None else encoded[:, latents]
        chosen = slice(None) if latents is None else latents
        before = torch.addmm(self.bias[chosen], x, self.encoder[:, chosen])
        if self.threshold is not None:
            before = torch.where(before > self.threshold[chosen], before, 0.0)
        return torch.relu_(before)


@dataclass(frozen=True)
class Autoencoders:
    """Sparse autoencoders of some layers, with equally many latents."""

    name: ClassVar[str] = "sae"
    target: ClassVar[Target | None] = None

    by_layer: Mapping[int, Autoencoder]

    @cached_property
    def digest(self) -> str:
        """Digest of all autoencoders."""
        return json_digest({str(layer): own.digest for layer, own in sorted(self.by_layer.items())})[:16]

    @property
    def most_active(self) -> int | None:
        """Largest number of latents that are active on a word; None where it has no limit."""
        limits = [own.k for own in self.by_layer.values()]
        known = [k for k in limits if k is not None]
        return max(known) if len(known) == len(limits) else None

    def units(self, width: int) -> int:
        """The number of latents of a layer."""
        return next(iter(self.by_layer.values())).latents

    def encode(
        self, layer: int, values: Num[Tensor, "*words neurons"], units: Int[Tensor, " units"] | None = None
    ) -> Num[Tensor, "*words units"]:
        """The activations of latents in float32."""
        own = self.by_layer[layer].on(values.device)
        chosen = None if units is None else units.to(values.device)
        encoded = own.encode(values.reshape(-1, own.width), chosen)
        return encoded.view(*values.shape[:-1], encoded.shape[1])

    def change(
        self,
        layer: int,
        values: Float[Tensor, "*words neurons"],
        units: Int[Tensor, " units"],
        before: Float[Tensor, "*words units"],
        after: Float[Tensor, "*words units"],
    ) -> None:
        """Move the activations along rows of the decoder; the error of the autoencoder stays."""
        own = self.by_layer[layer].on(values.device)
        values += ((after - before).float() @ own.decoder[units.to(values.device)]).to(values)

    def stored(self, layer: int, array: ndarray) -> Stored:
        """The latents of an array, of which those that are not 0 are kept in memory."""
        own = self.by_layer[layer]
        return SparseUnits(array, own.latents, self.digest, own.active)


@dataclass(frozen=True)
class Transcoders(Autoencoders):
    """Transcoders of some layers, ``W_dec f + b_dec + W_skip x`` is near the feed-forward output.

    Latents are read from the input of the feed-forward block, their decoder's rows are directions
    of its output.
    """

    name: ClassVar[str] = "transcoder"
    target: ClassVar[Target | None] = "mlp_out"
