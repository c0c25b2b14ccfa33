"""The plan of a run, and its output on the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from keyneurons.report.run.console import show_wide

GIGABYTE = 1e9


@dataclass(frozen=True)
class SplitPlan:
    """One split at one reading position: its text, its passes, and their bytes in the cache.

    ``padded`` is the number of tokens with padding; ``flops`` are operations of one pass, 0 if all
    activations are cached; ``times`` is the number of passes.
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
    """Bytes needed and bytes available, None if the machine lacks the device.

    ``parts`` lists the components; ``at_least`` marks a lower bound; ``remedies`` are overrides
    that reduce the need.
    """

    name: str
    needed: int
    available: int | None
    parts: str
    at_least: bool = False
    remedies: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether enough bytes are available."""
        return self.available is not None and self.needed <= self.available


@dataclass(frozen=True)
class Plan:
    """The plan of a run; ``stages`` has the work after the forward passes, in one line each."""

    title: str
    facts: tuple[str, ...]
    splits: tuple[SplitPlan, ...]
    needs: tuple[Need, ...]
    flops_per_second: float | None
    speed: str
    stages: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def flops(self) -> int:
        """Operations of all forward passes over the text."""
        return sum(split.flops * split.times for split in self.splits)

    @property
    def cache_bytes(self) -> int:
        """Bytes that the run adds to the cache."""
        return sum(split.cache_bytes for split in self.splits)

    @property
    def seconds(self) -> float | None:
        """Time of the forward passes, or None if the speed was not measured."""
        return None if self.flops_per_second is None else self.flops / self.flops_per_second


def show_plan(plan: Plan, console: Console) -> None:
    """Print the plan: text, needs, time, notes, and remedies for needs that do not fit."""
    console.print(plan.title, style="bold", soft_wrap=True, markup=False)
    for fact in plan.facts:
        console.print(fact, soft_wrap=True, markup=False)
    console.print()
    show_wide(_texts(plan), console)
    console.print()
    show_wide(_needs(plan.needs), console)
    console.print()
    for line in (_forward(plan), *plan.stages, *plan.notes):
        console.print(line, soft_wrap=True, markup=False)
    for need in plan.needs:
        if need.available is not None and not need.fits and need.remedies:
            console.print(f"\n{need.name} does not fit; remedies:", style="bold", soft_wrap=True, markup=False)
            for remedy in need.remedies:
                console.print(f"  {remedy}", soft_wrap=True, markup=False)


def _texts(plan: Plan) -> Table:
    table = _table("split", "sentences", "words", "tokens", "with padding", "batches", "forward TFLOP", "cache GB")
    for split in plan.splits:
        counts = (split.sentences, split.words, split.tokens, split.padded, split.batches)
        times = "" if split.times == 1 else f"{split.times} x "
        table.add_row(
            split.name, *(f"{count:,}" for count in counts), f"{times}{_tera(split.flops)}", _gb(split.cache_bytes)
        )
    table.add_row(
        "total",
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
    table = _table("GB", "needed", "available", "", "components")
    table.columns[3].justify = table.columns[4].justify = "left"
    for need in needs:
        verdict = "no such device" if need.available is None else "fits" if need.fits else "does not fit"
        available = "-" if need.available is None else _gb(need.available)
        needed = f"{'>= ' if need.at_least else ''}{_gb(need.needed)}"
        table.add_row(need.name, needed, available, verdict, need.parts)
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
    time = format_time(plan.seconds)
    return f"forward passes: {_tera(plan.flops)} TFLOP, {time} at {rate:.3g} GFLOP/s ({plan.speed})"


def format_time(seconds: float) -> str:
    """A duration in a suitable unit."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / GIGABYTE:,.2f}" if n_bytes >= 0.1 * GIGABYTE else f"{n_bytes / GIGABYTE:.4f}"


def _tera(n: int) -> str:
    return f"{n / 1e12:,.0f}" if n >= 1e14 else f"{n / 1e12:.3g}"
