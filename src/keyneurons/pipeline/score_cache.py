"""Scores that another job of this process has computed: a sweep over ``top_k`` scores a layer once."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import OrderedDict

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.records import Scores
from keyneurons.selection.scorer import NeuronScorer
from keyneurons.selection.scoring import Driver

HELD_BYTES = 2**28
"""Of the scores that are remembered; the oldest go first."""

_Key = tuple[object, ...]
_KNOWN: OrderedDict[_Key, Scores] = OrderedDict()


def known_scores(driver: Driver, scorer: NeuronScorer, tags: Int[ndarray, " words"]) -> Scores:
    """What ``driver.scores`` gives, remembered where the activations are files of the cache, which never change."""
    key = _key(driver, scorer, tags)
    if key is None:
        return driver.scores(scorer, tags)
    if key not in _KNOWN:
        _KNOWN[key] = driver.scores(scorer, tags)
        while len(_KNOWN) > 1 and sum(map(_bytes, _KNOWN.values())) > HELD_BYTES:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


def _key(driver: Driver, scorer: NeuronScorer, tags: Int[ndarray, " words"]) -> _Key | None:
    """All that the scores depend on, or None where that cannot be told."""
    told = repr(scorer)
    if not dataclasses.is_dataclass(scorer) or " at 0x" in told:  # another's scorer, whose settings do not show
        return None
    files = []
    for array in driver.arrays.values():
        if not isinstance(array, np.memmap) or array.filename is None or not os.path.exists(array.filename):
            return None
        state = os.stat(array.filename)
        files.append((str(array.filename), state.st_ino, state.st_mtime_ns, state.st_size))
    of_words = [hashlib.blake2b(np.ascontiguousarray(each).data).hexdigest() for each in (driver.rows, tags)]
    settings = driver.site, tuple(driver.arrays), driver.n_tags, driver.scope, driver.device
    return type(scorer).__module__, told, *settings, *files, *of_words


def _bytes(scores: Scores) -> int:
    tables = (scores.values, scores.p_values, scores.p_bounds, scores.effects)
    return sum(table.nbytes for table in tables if table is not None)
