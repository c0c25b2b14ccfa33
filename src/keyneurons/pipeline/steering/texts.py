"""Texts generated under several conditions, as the intact model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, continuations, decoded
from keyneurons.lesion.reading import Continuation, read_continuations
from keyneurons.progress import stage


@dataclass(frozen=True)
class Texts:
    """Continuations under several conditions; those of a prompt are together.

    ``bits`` is the surprisal of a continuation in the intact model, ``tokens`` its number of
    tokens, ``embeddings`` the mean state of these.
    """

    generation: Generation
    texts: tuple[tuple[str, ...], ...]
    bits: Float[ndarray, "conditions texts"]
    tokens: Int[ndarray, "conditions texts"]
    embeddings: Float[ndarray, "conditions texts hidden"]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each text."""
        return tuple(prompt for prompt in self.generation.prompts for _ in range(self.generation.samples))


def generate(read: ActivationReader, generation: Generation, conditions: Sequence[Condition]) -> Texts:
    """Continue the prompts under every condition, and read the texts with the intact model.

    Args:
        read: reader of the model at the site of the conditions.
        generation: the prompts and options.
        conditions: the changes of neurons; they may not need donors.

    Returns:
        The texts.

    Raises:
        ValueError: a prompt is too long, or a condition makes logits that are not finite.
    """
    model, n = read.model, len(conditions)
    prompts = generation.encoded(model, read.bos_id())
    with stage("generated texts", total=n * len(prompts), unit="texts") as progress:
        ids = continuations(
            model,
            read.site,
            conditions,
            prompts,
            generation.sampling,
            batch_tokens=read.batch_tokens,
            on_progress=progress.advance,
        )
    written = [Continuation(prompt.ids, new) for row in ids for prompt, new in zip(prompts, row, strict=True)]
    with stage("reading the texts", total=len(set(written)), unit="texts") as progress:
        readings = read_continuations(model, written, read.batch_tokens, progress.advance)
    shape = n, len(prompts)
    return Texts(
        generation,
        tuple(tuple(decoded(model, new) for new in row) for row in ids),
        readings.bits.reshape(shape),
        readings.tokens.reshape(shape),
        readings.embeddings.reshape(*shape, -1),
    )
