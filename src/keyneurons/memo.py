"""An in-memory cache of results."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

MAX_BYTES = 2**28


class Memo:
    """Caches results by key and evicts the oldest when their arrays exceed ``max_bytes``.

    Jobs of a sweep that run in the process of the command share a memo, so a sweep over ``top_k``
    scores a layer once. A pickled memo is empty.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def __reduce__(self) -> tuple[type[Memo], tuple[int]]:
        return type(self), (self._max_bytes,)

    def get(self, key: Hashable | None, compute: Callable[[], T]) -> T:
        """Return the result of a key, computed and cached on first use; key None is not cached."""
        if key is None:
            return compute()
        if key not in self._results:
            self._results[key] = compute()
            while len(self._results) > 1 and sum(map(_size, self._results.values())) > self._max_bytes:
                self._results.popitem(last=False)
        result: T = self._results[key]
        return result

    @property
    def n_results(self) -> int:
        """Number of cached results."""
        return len(self._results)


def identity_of(value: object) -> Hashable | None:
    """Hashable identity of a value, or None where it cannot be determined.

    Values with different identities may give different results. Numbers, strings, None, tuples of
    these, and frozen dataclasses with such fields have an identity. 1, 1.0 and True differ.
    """
    if value is None or type(value) in {bool, int, float, str}:
        return type(value), value
    if type(value) is tuple:
        parts = [identity_of(each) for each in value]
    elif _is_frozen_dataclass(value):
        parts = [identity_of(getattr(value, field.name)) for field in dataclasses.fields(value)]  # type: ignore[arg-type]
    else:
        return None
    return None if None in parts else (type(value), *parts)


def _is_frozen_dataclass(value: object) -> bool:
    """Whether the type itself is a frozen dataclass; a subclass may have further attributes."""
    params = vars(type(value)).get("__dataclass_params__")
    return params is not None and params.frozen


def _size(value: object) -> int:
    """Bytes of an array or tensor, or of all array fields of a dataclass."""
    if dataclasses.is_dataclass(value):
        return sum(_size(getattr(value, field.name)) for field in dataclasses.fields(value))
    return int(getattr(value, "nbytes", 0))
