"""A comparison of runs on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.metrics import ADVANTAGE
from keyneurons.report.comparison.page import best_table
from keyneurons.report.comparison.run_table import FIRST, cell, metric_columns, short
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.run.console import show_wide

MOST_SHOWN = 20


def show_comparison(found: RunComparison, console: Console) -> None:
    """Write the runs, the best of them for each question, and what was left out."""
    console.print(Text(f"{found.title}: {', '.join(found.source.values())}", style="bold"), soft_wrap=True)
    _show_runs(found, console)
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("question", "best run", "value", "random sets", "p", "dev", "chosen from"):
        table.add_column(
            name, justify="right" if name in ("value", "random sets", "p", "dev") else "left", no_wrap=True
        )
    for best in best_table(found):
        alike = f" (and {len(best['ties'])} alike)" if best["ties"] else ""
        cells = [best[name] for name in ("question", "run", "value", "random", "p", "dev", "chosen")]
        table.add_row(*map(Text, [cells[0], cells[1] + alike, *cells[2:]]))
    show_wide(table, console)
    if len(found.rows) > 1:
        told = (
            "The best of many runs by the same test words is partly luck; the run chosen on dev words is the fair one."
        )
        console.print(Text(told), soft_wrap=True)
    for reason, names in found.left_out.items():
        console.print(Text(f"Left out, {reason}: {', '.join(names[:5])}{' ...' * (len(names) > 5)}"), soft_wrap=True)
    if found.refused is not None:
        console.print(Text(found.refused), soft_wrap=True)


def _show_runs(found: RunComparison, console: Console) -> None:
    """The runs, or those with the largest advantage where there are many."""
    shown = found.rows
    if len(shown) > MOST_SHOWN:
        shown = tuple(sorted(shown, key=lambda row: -row.metrics.get(ADVANTAGE, -1.0)))[:MOST_SHOWN]
    columns = metric_columns(found.rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    asked = [key for key in found.rows[0].asked if key in FIRST]
    for name in map(short, asked) if asked else ["run"]:
        table.add_column(Text(name), no_wrap=True)
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown:
        cells = [cell(name, row.metrics.get(name)) for name in columns]
        table.add_row(*map(Text, [*([row.asked[key] for key in asked] or [row.label]), *cells]))
    show_wide(table, console)
    if len(shown) < len(found.rows):
        left = f"the {MOST_SHOWN} with the largest advantage of {len(found.rows)}; all are in runs.csv"
        console.print(Text(left), soft_wrap=True)
