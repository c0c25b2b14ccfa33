"""What the intact model makes of generated texts: surprisal, and mean embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import hook_site
from keyneurons.lesion.rows import Rows, Words, plan_rows
from keyneurons.lesion.surprisal import HEAD_ROWS
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers


@dataclass(frozen=True)
class Continuation:
    """Token ids of a prompt, not empty, and of its continuation, not empty."""

    prompt: tuple[int, ...]
    new: tuple[int, ...]


@dataclass(frozen=True)
class Readings:
    """Bits of whole continuations, their numbers of tokens, and their mean embeddings."""

    bits: Float[ndarray, " texts"]
    tokens: Int[ndarray, " texts"]
    embeddings: Float[ndarray, "texts hidden"]


def embedding_layer(model: LanguageModel) -> int:
    """The block whose output embeds texts: the one in the middle."""
    return model.n_layers // 2


@torch.inference_mode()
def read_continuations(
    model: LanguageModel,
    texts: Sequence[Continuation],
    batch_tokens: int,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Readings:
    """Read continuations with the intact model, after their prompts.

    Args:
        model: the model.
        texts: the texts; equal ones are read once.
        batch_tokens: tokens per forward pass.
        on_progress: called with the number of different texts after every pass.

    Returns:
        Surprisal of the continuations' tokens, and means of the residual stream at these tokens,
        after block ``embedding_layer``.
    """
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    encoded = [Encoded((*text.prompt, *text.new), ()) for text in number]
    length = np.array([len(each.ids) for each in encoded])
    first = np.array([len(text.prompt) for text in number])
    words = Words(np.arange(len(encoded)), first, length - 1)
    bits, means = np.empty(len(encoded)), np.empty((len(encoded), int(model.config.hidden_size)))
    predictor, layer = model.predictor, embedding_layer(model)
    states: list[Tensor] = []

    def probabilities(hidden: Tensor, tokens: Tensor) -> Tensor:
        parts = zip(torch.split(hidden, HEAD_ROWS), torch.split(tokens, HEAD_ROWS), strict=True)
        return torch.cat([predictor.log_probability_by_parts(*part) for part in parts])

    with quiet_transformers(), hook_site(predictor.base, model.family, "residual", {layer: states.append}):
        for batch in plan_rows(length, batch_tokens):
            rows = Rows.of(encoded, batch, int(length[batch[0]]), words, np.array(batch))
            final = predictor.base(**rows.inputs(model.device)).last_hidden_state
            bits[batch] = rows.bits(rows.predicting(final[None]), probabilities)[0]
            means[batch] = _means(rows, states.pop())
            on_progress(len(batch))
    of_text = np.array([number[text] for text in texts])
    return Readings(bits[of_text], (length - first)[of_text], means[of_text])


def _means(rows: Rows, states: Float[Tensor, "texts tokens hidden"]) -> Float[ndarray, "texts hidden"]:
    """Mean state over the tokens of each text's continuation."""
    at_tokens = states[rows.row.to(states.device), rows.position.to(states.device)].double().cpu()
    sums = torch.zeros(len(rows.closing), states.shape[2], dtype=torch.float64).index_add_(0, rows.word, at_tokens)
    means: ndarray = (sums / torch.bincount(rows.word)[:, None]).numpy()
    return means
