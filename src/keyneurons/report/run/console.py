"""Console output of the summary."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.report.run.summary import ACCURACY_COLUMNS, Summary
from keyneurons.terminal import terminal


def show(summary: Summary, console: Console) -> None:
    """Print the table of tags, the accuracies and the verdict."""
    console.print(Text(summary.title, style="bold"), soft_wrap=True)
    console.print(_tags(summary), Text(), sep="\n")
    show_wide(_plain(ACCURACY_COLUMNS, summary.accuracies, left=(0,)), console)
    console.print()
    if summary.lesions:
        console.print(
            "surprisal in bits per word under lesions (ablations) of each tag's key neurons",
            style="bold",
            soft_wrap=True,
        )
        head, *rows = summary.lesions
        show_wide(_plain(head, rows, left=(0,)), console)
        console.print()
    for fact in summary.facts:
        console.print(Text(fact), soft_wrap=True)
    console.print()
    for question, answer, p_value, reasons in summary.answers:
        tested = "" if p_value == "-" else f" (p = {p_value})"
        console.print(Text.assemble((question, "bold"), f" {answer}{tested}: {reasons}"), soft_wrap=True)
    if not summary.answers:
        console.print(Text(summary.verdict, style="bold"), soft_wrap=True)
    if summary.lesion_verdict:
        console.print(Text(summary.lesion_verdict, style="bold"), soft_wrap=True)


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


def _plain(head: Sequence[str], rows: Sequence[Sequence[str]], left: tuple[int, ...]) -> Table:
    """A table without a frame; columns are aligned to the right except those in ``left``."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(head):
        table.add_column(Text(name), justify="left" if i in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
