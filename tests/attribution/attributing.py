"""Words that a tiny model predicts, and full forward passes as reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from models import sentences
from torch import Tensor

from keyneurons.activations.alignment import Encoder
from keyneurons.activations.capture import hook_site
from keyneurons.activations.extract import make_batch
from keyneurons.attribution.gradients import Differentiator
from keyneurons.attribution.recording import Positions, Recording, record
from keyneurons.models.language_model import LanguageModel

TEXTS = sentences()
# sentence and word; two in one sentence, one at its start
WORDS = ((0, 3), (0, 6), (1, 9), (2, 0))
ALL = slice(None)


@dataclass(frozen=True)
class Predicted:
    """Some words in a batch of sentences, and the tokens that predict them."""

    model: LanguageModel
    site: str
    layers: Sequence[int]
    inputs: Mapping[str, Any]
    positions: Positions
    tokens: Tensor

    @property
    def recording(self) -> Recording:
        """The recording at the positions that predict the words."""
        base, family = self.model.predictor.base, self.model.family
        return record(base, family, self.site, self.layers, self.inputs, self.positions)

    def differentiator(self, target: str = "log_probability", head_rows: int = 3) -> Differentiator:
        """The differentiator of the model."""
        return Differentiator(self.model.predictor, self.model.family, self.site, target, head_rows)

    def whole(self, changed: Mapping[int, Tensor] | None = None, *, copies: int = 1) -> Tensor:
        """Log-probability ``[words, copies]`` by full forward passes, one row per copy.

        ``changed`` maps layers to the activations ``[words, copies, neurons]`` substituted at the
        positions that predict the words.
        """
        rows = self.positions.sentence.repeat_interleave(copies)
        token = self.positions.token.repeat_interleave(copies)
        inputs = {name: value[rows] if isinstance(value, Tensor) else value for name, value in self.inputs.items()}

        def put(values: Tensor) -> Callable[[Tensor], Tensor]:
            def through(carried: Tensor) -> Tensor:
                carried = carried.clone()
                carried[torch.arange(len(rows)), token] = values.flatten(0, 1)
                return carried

            return through

        predictor, family = self.model.predictor, self.model.family
        through = {layer: put(values) for layer, values in (changed or {}).items()}
        with hook_site(predictor.base, family, self.site, through):
            hidden = predictor.base(**inputs).last_hidden_state[torch.arange(len(rows)), token]
        return predictor.log_probability(hidden, self.tokens.repeat_interleave(copies)).view(-1, copies)


def predicted(
    model: LanguageModel,
    site: str = "mlp",
    layers: Sequence[int] = (0, 1, 2, 3),
    words: Sequence[tuple[int, int]] = WORDS,
    *,
    pad_left: bool = False,
    beside: Sequence[int] = (),
) -> Predicted:
    """Words (sentence, word) by their predicting tokens; the batch may have further sentences."""
    chosen = sorted({sentence for sentence, _ in words} | set(beside))
    encoded = Encoder(model.tokenizer, bos=1, read_at="prediction")([TEXTS[i] for i in chosen])
    batch = make_batch(encoded, [0] * len(chosen), pad_left)
    width = batch.ids.shape[1]
    row = [chosen.index(sentence) for sentence, _ in words]
    before = [encoded[r].reads[word][0] for r, (_, word) in zip(row, words, strict=True)]
    shift = [width - len(encoded[r].ids) if pad_left else 0 for r in row]
    positions = Positions(torch.tensor(row), torch.tensor(before) + torch.tensor(shift))
    tokens = torch.tensor([encoded[r].ids[at + 1] for r, at in zip(row, before, strict=True)])
    return Predicted(model, site, layers, batch.inputs(model.device), positions, tokens)


def n_hooks(network: torch.nn.Module) -> int:
    """Number of hooks on all modules."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules())
