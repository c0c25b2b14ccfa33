"""A plan on a terminal: what a run will take, and what of it this machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from keyneurons.report.run.console import show_wide

GIGABYTE = 1e9


@dataclass(frozen=True)
class SplitPlan:
    """One split read at one place: its text, its passes, and the bytes that they add to the cache.

    ``padded`` counts the tokens of the batches; ``flops`` are those of one pass and 0 where the cache has all;
    ``times`` says how often the pass is made.
    """

    name: str
    sentences: int
    words: int
    tokens: int
    padded: int
    batches: int
    flops: int
    times: int
    cache_bytes: int


@dataclass(frozen=True)
class Need:
    """Bytes that something takes and bytes that are here (None: there is no such thing here).

    ``parts`` says what they are made of; ``at_least`` that they are a lower bound; ``ways_out`` what to change.
    """

    what: str
    needed: int
    here: int | None
    parts: str
    at_least: bool = False
    ways_out: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it is here."""
        return self.here is not None and self.needed <= self.here


@dataclass(frozen=True)
class Plan:
    """All that is known of a run before it starts."""

    title: str
    facts: tuple[str, ...]
    splits: tuple[SplitPlan, ...]
    needs: tuple[Need, ...]
    flops_per_second: float | None
    speed: str
    notes: tuple[str, ...]

    @property
    def flops(self) -> int:
        """Those of all passes over the text."""
        return sum(split.flops * split.times for split in self.splits)

    @property
    def cache_bytes(self) -> int:
        """Bytes that the cache will grow by."""
        return sum(split.cache_bytes for split in self.splits)

    @property
    def seconds(self) -> float | None:
        """Time of the forward passes, where the speed is known."""
        return None if self.flops_per_second is None else self.flops / self.flops_per_second


def show_plan(plan: Plan, console: Console) -> None:
    """Write the plan: the text, what is needed and what is here, the time, and the ways out."""
    console.print(plan.title, style="bold", soft_wrap=True, markup=False)
    for fact in plan.facts:
        console.print(fact, soft_wrap=True, markup=False)
    console.print()
    show_wide(_texts(plan), console)
    console.print()
    show_wide(_needs(plan.needs), console)
    console.print()
    console.print(_forward(plan), soft_wrap=True, markup=False)
    for note in plan.notes:
        console.print(note, soft_wrap=True, markup=False)
    for need in plan.needs:
        if need.here is not None and not need.fits and need.ways_out:
            console.print(f"\n{need.what} does not fit; ways out:", style="bold", soft_wrap=True, markup=False)
            for way in need.ways_out:
                console.print(f"  {way}", soft_wrap=True, markup=False)


def _texts(plan: Plan) -> Table:
    table = _table("split", "sentences", "words", "tokens", "with padding", "batches", "forward TFLOP", "cache GB")
    for split in plan.splits:
        counts = (split.sentences, split.words, split.tokens, split.padded, split.batches)
        times = "" if split.times == 1 else f"{split.times} x "
        table.add_row(
            split.name, *(f"{count:,}" for count in counts), f"{times}{_tera(split.flops)}", _gb(split.cache_bytes)
        )
    table.add_row(
        "in all",
        "",
        f"{sum(s.words for s in plan.splits):,}",
        f"{sum(s.tokens for s in plan.splits):,}",
        f"{sum(s.padded for s in plan.splits):,}",
        f"{sum(s.batches for s in plan.splits):,}",
        _tera(plan.flops),
        _gb(plan.cache_bytes),
    )
    return table


def _needs(needs: Sequence[Need]) -> Table:
    table = _table("GB", "needed", "here", "", "made of")
    table.columns[3].justify = table.columns[4].justify = "left"
    for need in needs:
        verdict = "none here" if need.here is None else "fits" if need.fits else "does not fit"
        here = "-" if need.here is None else _gb(need.here)
        table.add_row(need.what, f"{'>= ' if need.at_least else ''}{_gb(need.needed)}", here, verdict, need.parts)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right", no_wrap=True)
    return table


def _forward(plan: Plan) -> str:
    if plan.flops_per_second is None or plan.seconds is None:
        return f"forward passes: {_tera(plan.flops)} TFLOP; time {plan.speed}"
    rate = plan.flops_per_second / 1e9
    return f"forward passes: {_tera(plan.flops)} TFLOP, {told_time(plan.seconds)} at {rate:.3g} GFLOP/s ({plan.speed})"


def told_time(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / GIGABYTE:,.2f}" if n_bytes >= 0.1 * GIGABYTE else f"{n_bytes / GIGABYTE:.4f}"


def _tera(n: int) -> str:
    return f"{n / 1e12:,.0f}" if n >= 1e14 else f"{n / 1e12:.3g}"
