"""Arrays of the cache that hold moments: their names, rows and format."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from keyneurons.digests import json_digest
from keyneurons.records import Site
from keyneurons.selection.moments import Moments
from keyneurons.selection.tagged_words import TaggedWords
from keyneurons.selection.views import View

FORMAT = 1  # raise it whenever sums or their order in an array change
FIRST_SUMS = 4  # rows of an array before the sums: pivot, lowest, highest, squares by sentence


def series_of(site: Site, view: View, words: TaggedWords, basis: tuple[str, ...] = ()) -> str:
    """Name of the arrays of a view under a tagging; ``basis`` is its digest, empty for neurons."""
    return f"moments-{site}-{json_digest([FORMAT, repr(view), words.digest, *basis])[:20]}"


def array_of_moments(moments: Moments) -> Float[ndarray, "rows neurons"]:
    """Moments as an array; rows that are unknown are nan."""
    first = moments.pivot, moments.low, moments.high, moments.sentence_squares
    rows = [torch.full_like(moments.pivot, torch.nan) if row is None else row for row in first]
    array: ndarray = torch.cat([torch.stack(rows), moments.sums, moments.squares]).double().cpu().numpy()
    return array


def moments_of_array(array: Float[ndarray, "rows neurons"], words: TaggedWords) -> Moments:
    """The moments in an array of the cache."""
    values = torch.from_numpy(np.array(array))
    pivot, low, high, by_sentence = values[:FIRST_SUMS]
    sums, squares = values[FIRST_SUMS:].chunk(2)
    known = (low, high, by_sentence) if words.whole else (None, None, None)
    return Moments(words.counts, pivot, sums, squares, *known)
