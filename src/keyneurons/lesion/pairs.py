"""Accuracy on minimal pairs: is the grammatical sentence the less surprising one?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.data.minimal_pairs import MinimalPair
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.rows import Words
from keyneurons.lesion.surprisal import Surprisal
from keyneurons.records import Sentence, Word


def pair_margins(
    surprisal: Surprisal,
    read: ActivationReader,
    pairs: Sequence[MinimalPair],
    conditions: Sequence[Condition],
    told: Callable[[int], object],
) -> Float[ndarray, "conditions pairs"]:
    """How many bits the ungrammatical sentence of each pair is more surprising than the grammatical one.

    Warstadt et al. 2020 (BLiMP, arXiv:1912.00582): a model is right about a pair if it gives the grammatical sentence
    the higher probability, that of all its tokens; here where the margin is above 0.

    Args:
        surprisal: measures the model.
        read: encodes sentences for it.
        pairs: the pairs.
        conditions: what is done to the model.
        told: hears of every batch how many conditions times sentences are done.

    Returns:
        The margins.
    """
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]
    sentences = [Sentence(text, text, (Word(text, 0, len(text), None, None),)) for text in texts]
    encoded = read.encode(sentences)
    first = 0 if read.bos_id() is None else 1
    spans = np.array([(i, max(first, 1), len(e.ids) - 1) for i, e in enumerate(encoded)])
    bits = surprisal(encoded, Words(spans[:, 0], spans[:, 1], spans[:, 2]), conditions, told=told)
    margins: Float[ndarray, "conditions pairs"] = bits[:, 1::2] - bits[:, 0::2]
    return margins
