"""Tables of a comparison of two runs as text, for the console and the page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.analysis.set_pair import PairedNeuron, Shared
from keyneurons.report.comparison.page import by_chance
from keyneurons.report.comparison.pair import RunPair
from keyneurons.report.run.console import show_wide

HEADS = ("tag", "A", "B", "shared", "by chance", "Jaccard", "overlap", "p (adjusted)", "same sign")
EXPLAINED = (
    "By chance: mean of random sets with as many neurons in each layer. Overlap: shared neurons by the size of the "
    "smaller set. p: of sharing at least as many by chance, adjusted over the tags (Benjamini-Hochberg); that of the "
    "union is a single test."
)


def tag_rows(pair: RunPair) -> list[tuple[str, ...]]:
    """One row per tag, and one for the unions over the tags."""
    rows = [
        (tag, *_counts(own.counts), "-" if own.same_sign is None else f"{own.same_sign} of {own.counts.shared}")
        for tag, own in pair.sets.tags.items()
    ]
    return [*rows, ("union", *_counts(pair.sets.union), "-")]


def metric_rows(pair: RunPair) -> list[tuple[str, str, str, str]]:
    """Name, both values and their difference (B minus A)."""
    rows = []
    for name, (a, b) in pair.metrics().items():
        digits = 0 if a.is_integer() and b.is_integer() and max(a, b) > 1 else 3
        rows.append((name, f"{a:.{digits}f}", f"{b:.{digits}f}", f"{b - a:+.{digits}f}"))
    return rows


def neuron_names(pair: RunPair, tag: str) -> dict[str, list[str]]:
    """The neurons of a tag in both sets, only in A and only in B, with their ranks and scores."""
    site, own = pair.first.file["site"], pair.sets.tags[tag].neurons
    return {
        "both": [f"{_name(site, n)} {_ranked(n)}" for n in own if n.first and n.second],
        "only A": [f"{_name(site, n)} {_ranked(n)}" for n in own if not n.second],
        "only B": [f"{_name(site, n)} {_ranked(n)}" for n in own if not n.first],
    }


def show_pair(pair: RunPair, console: Console) -> None:
    """Print the sets by tag, the metrics and the settings that differ."""
    for name, side in zip("AB", (pair.first, pair.second), strict=True):
        console.print(Text(f"{name}: {'; '.join(side.facts.values())}", style="bold"), soft_wrap=True)
    console.print()
    _show(HEADS, tag_rows(pair), console)
    console.print(Text(EXPLAINED), soft_wrap=True)
    if rows := metric_rows(pair):
        console.print()
        _show(("metric", "A", "B", "B - A"), rows, console)
    if settings := pair.settings():
        console.print()
        _show(("setting", "A", "B"), [(key, *values) for key, values in settings.items()], console)
    for note in ("neurons.csv and the page list the neurons of both sets and of each alone.", *pair.notes):
        console.print(Text(note), soft_wrap=True)


def _show(heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        is_text = heads[0] == "setting" or head == heads[0]
        table.add_column(head, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    show_wide(table, console)


def _counts(counts: Shared) -> tuple[str, ...]:
    p = counts.p_value if counts.p_adjusted is None else counts.p_adjusted
    return (
        str(counts.first),
        str(counts.second),
        str(counts.shared),
        by_chance(counts.expected),
        _ratio(counts.jaccard),
        _ratio(counts.coefficient),
        f"{p:.3f}" if p >= 0.001 else f"{p:.1g}",
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _name(site: str, neuron: PairedNeuron) -> str:
    return f"{site}.{neuron.layer}.{neuron.neuron}"


def _ranked(neuron: PairedNeuron) -> str:
    sides = [f"{name} {own.rank}: {own.score:.3f}" for name, own in (("A", neuron.first), ("B", neuron.second)) if own]
    return f"({', '.join(sides)})"
