"""A comparison as the description of a sweep's parent run in MLflow."""

from __future__ import annotations

from keyneurons.report.comparison.page import best_table
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.markup import block, table

COLUMNS = {"question": "question", "run": "best run", "value": "value", "random": "random sets", "p": "p"}


def markdown(comparison: RunComparison) -> str:
    """Format the best run for each question and the source of the runs."""
    rows = [[str(best[name]) for name in COLUMNS] for best in best_table(comparison)]
    lines = [f"### {block(comparison.title)}", "", *table(list(COLUMNS.values()), rows)]
    lines += ["", *(f"- {block(f'{name}: {value}')}" for name, value in comparison.source.items() if name != "sweep")]
    return "\n".join(lines) + "\n"
