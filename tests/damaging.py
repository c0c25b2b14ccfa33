"""Random changes to the contents of a JSON file."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 48, 10**30, 1.5, 2.0, -0.5, 1e300),
    *("", "2", "mlp", "\u0000", [], [1], [[]], {}, {"a": 1}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def damage(value: Any, draw: random.Random) -> Any:
    """One random change: a removed or replaced value, a renamed key, or a duplicate entry."""
    changed = copy.deepcopy(value)
    *path, last = draw.choice(list(places(changed)))
    node = changed
    for key in path:
        node = node[key]
    acts: list[Callable[[], Any]] = [lambda: node.pop(last), lambda: node.__setitem__(last, draw.choice(ODD))]
    if isinstance(node, dict):
        acts.append(lambda: node.update({f"{last}_": node.pop(last)}))
    else:
        acts.append(lambda: node.append(copy.deepcopy(node[last])))
    draw.choice(acts)()
    return changed
