"""Console output of the summary."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.report.run.summary import Summary
from keyneurons.terminal import terminal


def show(summary: Summary, console: Console) -> None:
    """Print the table of tags, the accuracies and the verdict."""
    console.print(Text(summary.title, style="bold"), soft_wrap=True)
    console.print(_tags(summary), Text(), _accuracies(summary), sep="\n")
    console.print()
    if summary.lesions:
        console.print(
            "surprisal in bits per word under lesions (ablations) of each tag's key neurons",
            style="bold",
            soft_wrap=True,
        )
        show_wide(_lesions(summary), console)
        console.print()
    for fact in summary.facts:
        console.print(Text(fact), soft_wrap=True)
    console.print()
    console.print(Text(summary.verdict, style="bold"), soft_wrap=True)


def _tags(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in summary.columns:
        table.add_column(name, justify="left" if name in ("tag", "best neuron") else "right")
    for row in summary.tags:
        table.add_row(*map(Text, row))
    return table


def show_wide(table: Table, console: Console) -> None:
    """Print a table without truncating cells; lines may wrap on a narrow terminal."""
    wide = terminal(console, 1000).measure(table).maximum
    terminal(console, max(wide, console.width)).print(table)


def _lesions(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    head, *rows = summary.lesions
    for name in head:
        table.add_column(name, justify="left" if name == "tag" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _accuracies(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("accuracy on test words")
    table.add_column("", justify="right")
    for name, value in summary.accuracies:
        table.add_row(Text(name), Text(value))
    return table
