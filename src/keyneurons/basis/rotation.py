"""A random rotation of every layer: a basis that nothing favours."""

from __future__ import annotations

import numpy as np
import torch

from keyneurons.analysis.axes import random_orthogonal
from keyneurons.basis.linear import Directions, Linear
from keyneurons.digests import json_digest

FORMAT = 1  # raise it whenever the drawn matrices change


class _Drawn(dict[int, Directions]):
    """The directions of each layer, drawn when they are first needed."""

    def __init__(self, width: int, seed: int) -> None:
        self._width, self._seed = width, seed

    def __missing__(self, layer: int) -> Directions:
        own = int(np.random.SeedSequence([self._seed, layer]).generate_state(1)[0])
        axes = torch.from_numpy(random_orthogonal(self._width, own)).float()
        self[layer] = Directions(axes, torch.zeros(self._width))
        return self[layer]


def rotation(width: int, seed: int) -> Linear:
    """A random orthogonal basis of each layer (Haar), drawn by the seed and the layer alone."""
    digest = json_digest(["rotation", FORMAT, width, seed])[:16]
    return Linear("rotation", digest, _Drawn(width, seed))
