"""Small multiples of runs: one panel for each combination of the remaining factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keyneurons.report.comparison.factors import FIRST, describe, sortable
from keyneurons.report.comparison.run_table import RunRow

X = Literal["top_k", "layer", "union_size"]
_VARIED = {"top_k": "top_k", "layer": "layer", "union_size": "top_k"}  # the factor behind x


@dataclass(frozen=True)
class Panel:
    """A small multiple: the runs of each method in the order of x, titled by the other factors.

    ``mixed`` lists params that differ between the methods of the panel only.
    """

    title: str
    mixed: tuple[str, ...]
    lines: Mapping[str, tuple[RunRow, ...]]

    @property
    def rows(self) -> tuple[RunRow, ...]:
        """The runs of all methods."""
        return tuple(row for own in self.lines.values() for row in own)


def panels(rows: Sequence[RunRow], x: X, metric: str) -> tuple[Panel, ...]:
    """One panel for each combination of the factors other than method and x, with at least two x.

    Runs of any ``top_k`` share a panel over the size of their unions. Factors that are determined
    by the method, such as settings of another sweep, do not split panels.
    """
    drawn = [row for row in rows if getattr(row, x) is not None and metric in row.metrics]
    keys = [key for key in (drawn[0].factors if drawn else ()) if key not in ("choice.selection", _VARIED[x])]
    mixed = tuple(key for key in keys if key not in FIRST and _goes_with_method(drawn, key))
    apart = [key for key in keys if key not in mixed]
    grouped: dict[tuple[str, ...], list[RunRow]] = {}
    for row in drawn:
        grouped.setdefault(tuple(row.factors[key] for key in apart), []).append(row)
    result = []
    for values, own in sorted(grouped.items(), key=lambda group: [sortable(value) for value in group[0]]):
        if len({getattr(row, x) for row in own}) > 1:
            own.sort(key=lambda row: getattr(row, x))
            methods = dict.fromkeys(sorted(row.method for row in own))
            lines = {m: tuple(row for row in own if row.method == m) for m in methods}
            differ = tuple(key for key in mixed if len({row.factors[key] for row in own}) > 1)
            result.append(Panel(describe(dict(zip(apart, values, strict=True))), differ, lines))
    return tuple(result)


def _goes_with_method(rows: Sequence[RunRow], key: str) -> bool:
    return len({(row.method, row.factors[key]) for row in rows}) == len({row.method for row in rows})
