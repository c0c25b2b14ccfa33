"""Console output of a comparison of runs."""

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


def show_comparison(comparison: RunComparison, console: Console) -> None:
    """Print the runs, the best run for each question, and the excluded runs."""
    console.print(Text(f"{comparison.title}: {', '.join(comparison.source.values())}", style="bold"), soft_wrap=True)
    _show_runs(comparison, console)
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("question", "best run", "value", "random sets", "p", "dev", "chosen from"):
        table.add_column(
            name, justify="right" if name in ("value", "random sets", "p", "dev") else "left", no_wrap=True
        )
    for best in best_table(comparison):
        ties = f" (tied with {len(best['ties'])} more)" if best["ties"] else ""
        cells = [best[name] for name in ("question", "run", "value", "random", "p", "dev", "chosen")]
        table.add_row(*map(Text, [cells[0], cells[1] + ties, *cells[2:]]))
    show_wide(table, console)
    if len(comparison.rows) > 1:
        caution = (
            "The best of many runs on the same test words is partly luck; "
            "report the run chosen on dev words for an unbiased accuracy."
        )
        console.print(Text(caution), soft_wrap=True)
    for reason, names in comparison.left_out.items():
        console.print(Text(f"Excluded, {reason}: {', '.join(names[:5])}{' ...' * (len(names) > 5)}"), soft_wrap=True)
    if comparison.not_compared is not None:
        console.print(Text(comparison.not_compared), soft_wrap=True)


def _show_runs(comparison: RunComparison, console: Console) -> None:
    """Print the runs; if there are many, only those with the largest advantage."""
    shown = comparison.rows
    if len(shown) > MOST_SHOWN:
        shown = tuple(sorted(shown, key=lambda row: -row.metrics.get(ADVANTAGE, -1.0)))[:MOST_SHOWN]
    columns = metric_columns(comparison.rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    factors = [key for key in comparison.rows[0].factors if key in FIRST]
    for name in map(short, factors) if factors else ["run"]:
        table.add_column(Text(name), no_wrap=True)
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown:
        cells = [cell(name, row.metrics.get(name)) for name in columns]
        table.add_row(*map(Text, [*([row.factors[key] for key in factors] or [row.label]), *cells]))
    show_wide(table, console)
    if len(shown) < len(comparison.rows):
        note = f"the {MOST_SHOWN} runs with the largest advantage of {len(comparison.rows)}; runs.csv lists all"
        console.print(Text(note), soft_wrap=True)
