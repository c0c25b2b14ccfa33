"""Runs in small multiples: what else differs than method and the axis has a panel of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keyneurons.report.comparison.run_table import FIRST, RunRow, sortable, told

X = Literal["top_k", "layer"]


@dataclass(frozen=True)
class Panel:
    """A small multiple: by method its runs in the order of x; ``title`` says what else they were asked.

    ``mixed`` are params that differ between its methods, and between them only.
    """

    title: str
    mixed: tuple[str, ...]
    lines: Mapping[str, tuple[RunRow, ...]]


def panels(rows: Sequence[RunRow], x: X, metric: str) -> tuple[Panel, ...]:
    """One panel for each combination of all that differs but method and x, where x has two values at least.

    What goes with the method, as settings that another sweep had, makes no panel of its own.
    """
    drawn = [row for row in rows if getattr(row, x) is not None and metric in row.metrics]
    keys = [key for key in (drawn[0].asked if drawn else ()) if key not in ("choice.selection", x)]
    mixed = tuple(key for key in keys if key not in FIRST and _goes_with_method(drawn, key))
    apart = [key for key in keys if key not in mixed]
    grouped: dict[tuple[str, ...], list[RunRow]] = {}
    for row in drawn:
        grouped.setdefault(tuple(row.asked[key] for key in apart), []).append(row)
    found = []
    for values, own in sorted(grouped.items(), key=lambda group: [sortable(value) for value in group[0]]):
        if len({getattr(row, x) for row in own}) > 1:
            own.sort(key=lambda row: getattr(row, x))
            methods = dict.fromkeys(sorted(row.method for row in own))
            lines = {m: tuple(row for row in own if row.method == m) for m in methods}
            differ = tuple(key for key in mixed if len({row.asked[key] for row in own}) > 1)
            found.append(Panel(told(dict(zip(apart, values, strict=True))), differ, lines))
    return tuple(found)


def _goes_with_method(rows: Sequence[RunRow], key: str) -> bool:
    return len({(row.method, row.asked[key]) for row in rows}) == len({row.method for row in rows})
