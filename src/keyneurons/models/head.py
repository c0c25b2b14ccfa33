"""The last norm and the language-model head: token probabilities from hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Int

if TYPE_CHECKING:
    from torch import Tensor, nn


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
        logits: Tensor = self.head(hidden)
        logits = logits if logits.dtype.itemsize >= 4 else logits.float()
        return logits if self.softcap is None else self.softcap * (logits / self.softcap).tanh()

    def log_probability(
        self, hidden: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        """Natural log probability of one token a row, from normed hidden states."""
        logits = self.logits(hidden)
        chosen = logits.gather(1, tokens.to(logits.device)[:, None]).squeeze(1)
        log_probability: Tensor = chosen - logits.logsumexp(dim=1)
        return log_probability
