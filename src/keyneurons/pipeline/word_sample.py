"""A sample of the train words, for methods that need the values of words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.digests import json_digest
from keyneurons.records import Sentence

LEAST_WORDS = 2  # of a tag


def proportional_sample(tags: Int[ndarray, " words"], n: int, seed: int) -> Int[ndarray, " sampled"]:
    """Draw words at random within each tag, in proportion to its number of words.

    Words of many sentences are drawn, not whole sentences, since the words of a sentence are
    dependent: a sample of single words has more information. A tag has at least 2 words, or all it
    has, so that rare tags can be scored; the sample may therefore exceed n by a few words.

    Args:
        tags: The tag of each word.
        n: Number of words to draw.
        seed: Seed of the draw.

    Returns:
        Ascending positions; all if there are no more than n words.
    """
    if n >= len(tags):
        return np.arange(len(tags))
    counts = np.bincount(tags)
    quota = n * counts / len(tags)
    drawn = np.floor(quota).astype(np.int64)
    drawn[np.argsort(drawn - quota, kind="stable")[: n - drawn.sum()]] += 1  # largest remainders
    drawn = np.maximum(drawn, np.minimum(counts, LEAST_WORDS))
    rng = np.random.default_rng([seed, 20])
    chosen = [rng.permutation(np.flatnonzero(tags == tag))[:of_tag] for tag, of_tag in enumerate(drawn)]
    return np.sort(np.concatenate(chosen))


def read_sample(
    read: ActivationReader, sentences: tuple[Sentence, ...], rows: Int[ndarray, " sampled"]
) -> Mapping[int, Float[ndarray, "sampled neurons"]]:
    """The activations of all neurons on some words, from the cache or by one pass over the text.

    Args:
        read: Reader of activations.
        sentences: The train sentences.
        rows: Ascending rows of the words.

    Returns:
        Memory-mapped arrays by layer.

    Raises:
        OSError: The arrays were damaged during the run.
    """
    entry = read.store.entry(read.key(sentences))
    series = f"sample-{read.site}-{json_digest(rows.tolist())[:20]}"
    with entry.lock():
        arrays = entry.load_all(series, read.layers)
        if missing := [layer for layer, array in arrays.items() if array is None]:
            shape = len(rows), read.model.width(read.site)
            with entry.write(series, missing, shape, read.dtype, "sample") as partial:
                for some, by_site in read.stream(sentences, "train", {read.site: missing}):
                    own = np.isin(some, rows)
                    place, chosen = np.searchsorted(rows, some[own]), torch.from_numpy(np.flatnonzero(own))
                    if len(place):
                        values = by_site[read.site].items()
                        partial.put(place, {i: v.index_select(0, chosen.to(v.device)).cpu().numpy() for i, v in values})
            arrays |= entry.load_all(series, missing)
    if any(array is None for array in arrays.values()):
        raise OSError(f"{entry.folder} was damaged during the run; run again")
    return {layer: array for layer, array in arrays.items() if array is not None}
