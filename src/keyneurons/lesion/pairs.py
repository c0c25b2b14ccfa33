"""Surprisal margins of minimal pairs."""

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
    on_progress: Callable[[float], object],
) -> Float[ndarray, "conditions pairs"]:
    """Surprisal of the ungrammatical minus the grammatical sentence of each pair, in bits.

    Warstadt et al. 2020 (BLiMP, arXiv:1912.00582): a model judges a pair correctly if it assigns
    the grammatical sentence, over all its tokens, the higher probability: a margin above 0.

    Args:
        surprisal: measures the model.
        read: encodes the sentences.
        pairs: the pairs.
        conditions: the lesions.
        on_progress: called after every pass with the number of conditions done, a fraction.

    Returns:
        The margins.
    """
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]
    sentences = [Sentence(text, text, (Word(text, 0, len(text), None, None),)) for text in texts]
    encoded = read.encode(sentences)
    first = 0 if read.bos_id() is None else 1
    spans = np.array([(i, max(first, 1), len(e.ids) - 1) for i, e in enumerate(encoded)])
    words = Words(spans[:, 0], spans[:, 1], spans[:, 2])
    bits = surprisal(encoded, words, conditions, on_progress=on_progress)
    margins: Float[ndarray, "conditions pairs"] = bits[:, 1::2] - bits[:, 0::2]
    return margins
