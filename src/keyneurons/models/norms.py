"""Gain and bias of norms, whatever their class."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.models.families import block_modules, path_at, submodule
from keyneurons.models.language_model import LanguageModel

LARGE = 1024.0  # beside which the epsilon of a norm is nothing


@torch.inference_mode()
def feed_forward_norm(model: LanguageModel, layer: int) -> tuple[Float[Tensor, " neurons"], Float[Tensor, " neurons"]]:
    """Gain and bias of the norm before the feed-forward block of a layer, in float32.

    They are read from its outputs for a vector of mean 0 and for its negative, so the class of the
    norm does not matter.

    Raises:
        ValueError: a gain is 0, so that inputs without it cannot be computed.
    """
    norm = submodule(block_modules(model.network, model.family)[layer], path_at(model.family, "mlp_in"))
    weight = next(norm.parameters())
    signs = torch.ones(model.width("mlp_in"), dtype=weight.dtype, device=weight.device)
    signs[1::2] = -1
    above, below = norm(LARGE * signs[None])[0].float().cpu(), norm(-LARGE * signs[None])[0].float().cpu()
    gain, bias = (above - below) / 2 * signs.float().cpu(), (above + below) / 2
    if not gain.all():
        raise ValueError(
            f"the norm before the feed-forward block of layer {layer} has a gain of 0; use basis.gain=true"
        )
    return gain, bias
