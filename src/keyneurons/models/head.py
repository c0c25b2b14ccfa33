"""The last norm and the language-model head: token probabilities from hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

PART = 1024  # vocabulary entries of a part: its logits stay in the processor's cache


@dataclass(frozen=True)
class Predictor:
    """A base model, its last norm, and the head that maps normed hidden states to logits.

    ``whole`` is the full model; ``softcap`` bounds logits as Gemma 2 does:
    ``cap * tanh(logit / cap)``.
    """

    whole: nn.Module
    base: nn.Module
    norm: nn.Module
    head: nn.Module
    softcap: float | None

    def logits(self, hidden: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows tokens"]:
        """Logits of all tokens from normed hidden states, in float32 or wider."""
        return self._capped(self.head(hidden))

    def log_probability(
        self, hidden: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        """Natural log probability of one token a row, from normed hidden states."""
        logits = self.logits(hidden)
        chosen = logits.gather(1, tokens.to(logits.device)[:, None]).squeeze(1)
        log_probability: Tensor = chosen - logits.logsumexp(dim=1)
        return log_probability

    def log_probability_by_parts(
        self, hidden: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        """The same without gradients: the vocabulary is summed part by part.

        The largest logit of each part is subtracted before exponentials are summed. A head that is
        not a plain matrix on the device of the states is applied as a whole.
        """
        head = self.head
        if type(head) is not nn.Linear or head.weight.device != hidden.device:
            return self.log_probability(hidden, tokens)
        biases = [None] * len(head.weight) if head.bias is None else torch.split(head.bias, PART)
        largest, sums = [], []
        for weight, bias in zip(torch.split(head.weight, PART), biases, strict=False):
            logits = self._capped(nn.functional.linear(hidden, weight, bias))
            largest.append(logits.amax(dim=1))
            sums.append(logits.sub_(largest[-1][:, None]).exp_().sum(dim=1))
        of_part = torch.stack(largest)
        most = of_part.amax(dim=0)
        total = (torch.stack(sums) * (of_part - most).exp()).sum(dim=0).log() + most
        own = (hidden * head.weight[tokens]).sum(dim=1) + (0 if head.bias is None else head.bias[tokens])
        return self._capped(own) - total

    def _capped(self, logits: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
        logits = logits if logits.dtype.itemsize >= 4 else logits.float()
        return logits if self.softcap is None else self.softcap * (logits / self.softcap).tanh()
