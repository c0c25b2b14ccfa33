"""Results that are kept in memory for as long as somebody holds the object, by all that they depend on."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

HELD_BYTES = 2**28


class Memo:
    """Keeps results by key; the oldest go first when their arrays take more than ``held_bytes``.

    Jobs of a sweep that run in the process of the command share one, so that a sweep over ``top_k`` scores a layer
    once. A copy for another process is empty.
    """

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self._held_bytes = held_bytes
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def __reduce__(self) -> tuple[type[Memo], tuple[int]]:
        return type(self), (self._held_bytes,)

    def get(self, key: Hashable | None, compute: Callable[[], T]) -> T:
        """The result of a key, computed if it is not kept; without a key it is computed and not kept."""
        if key is None:
            return compute()
        if key not in self._results:
            self._results[key] = compute()
            while len(self._results) > 1 and sum(map(_size, self._results.values())) > self._held_bytes:
                self._results.popitem(last=False)
        result: T = self._results[key]
        return result

    @property
    def n_results(self) -> int:
        """Number of results that are kept."""
        return len(self._results)


def identity_of(value: object) -> Hashable | None:
    """What tells an object apart from any other that could give other results, or None where that cannot be told.

    It can of numbers, texts and None, tuples of these, and frozen dataclasses whose fields are such. 1, 1.0 and True
    are different.
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
    """Whether the type itself is one: a subclass of one may hold anything beside its fields."""
    params = vars(type(value)).get("__dataclass_params__")
    return params is not None and params.frozen


def _size(value: object) -> int:
    """Bytes of an array or a tensor, or of those that are fields of a dataclass."""
    if dataclasses.is_dataclass(value):
        return sum(_size(getattr(value, field.name)) for field in dataclasses.fields(value))
    return int(getattr(value, "nbytes", 0))
