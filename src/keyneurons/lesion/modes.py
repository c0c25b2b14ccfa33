"""The kinds of lesion: what takes the place of a neuron's activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.lesion.conditions import Change, Condition

Mode = Literal["zero", "mean", "tag_mean", "resample", "translate", "keep_only", "scale"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Means:
    """Mean activation of every neuron of the layers, side by side, over all train words and over those of each tag."""

    layers: tuple[int, ...]
    overall: Float[Tensor, " neurons"]
    of_tag: Float[Tensor, "tags neurons"]

    def of_layer(self, values: Float[Tensor, " neurons"], layer: int) -> Float[Tensor, " width"]:
        """The part of one layer."""
        width = len(self.overall) // len(self.layers)
        start = self.layers.index(layer) * width
        return values[start : start + width].float()


@dataclass(frozen=True)
class Lesion:
    """Makes conditions of sets of neurons.

    ``zero``; ``mean`` of the neuron over train; ``tag_mean`` over the words of the tag whose set it is; ``resample``
    from another train word; ``translate``: shifted by what the mean over the words of tag ``to`` differs from that of
    the set's own tag (Antverg & Belinkov 2022); ``keep_only``: all other neurons of these layers are zero; ``scale``
    by ``factor``.
    """

    mode: Mode
    factor: float = 0.0
    to: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if (self.mode == "translate") != (self.to is not None):
            raise ValueError(f"lesion.to names the tag of mode=translate, got mode={self.mode} and to={self.to}")

    def condition(
        self, columns: Int[ndarray, " lesioned"] | Sequence[int], tag: int, names: Sequence[str], means: Means
    ) -> Condition:
        """The lesion of some neurons.

        Args:
            columns: their positions, the layers side by side.
            tag: the tag whose set they are, or are matched to.
            names: the tags.
            means: of all neurons.

        Returns:
            The condition.
        """
        width = len(means.overall) // len(means.layers)
        by_layer: dict[int, list[int]] = {}
        for column in columns:
            by_layer.setdefault(means.layers[int(column) // width], []).append(int(column) % width)
        neurons = {layer: torch.tensor(sorted(chosen)) for layer, chosen in by_layer.items()}
        return Condition(neurons, self._changes(neurons, tag, names, means), kept=self.mode == "keep_only")

    def _changes(
        self, neurons: Mapping[int, Tensor], tag: int, names: Sequence[str], means: Means
    ) -> dict[int, Change]:
        shift: Tensor | None = None
        if self.mode == "mean":
            shift = means.overall
        elif self.mode == "tag_mean":
            shift = means.of_tag[tag]
        elif self.mode == "translate" and self.to is not None:
            shift = means.of_tag[names.index(self.to)] - means.of_tag[tag]
        gain = {"scale": self.factor, "translate": 1.0}.get(self.mode, 0.0)
        borrow = self.mode == "resample"
        return {
            layer: Change(gain, None if shift is None else means.of_layer(shift, layer), borrow) for layer in neurons
        }
