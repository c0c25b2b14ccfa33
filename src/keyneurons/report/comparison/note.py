"""A comparison as the description of a sweep's parent run in MLflow."""

from __future__ import annotations

from keyneurons.report.comparison.best_table import ONE_RANKING_NOTE, best_note, best_table
from keyneurons.report.comparison.configurations import NOTE
from keyneurons.report.comparison.significance import significance_sentence
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.markup import block, table

COLUMNS = {
    "question": "question",
    "run": "best run",
    "value": "value",
    "accuracy": "accuracy",
    "random": "random sets",
    "p": "p special",
}


def markdown(comparison: RunComparison) -> str:
    """Format the best run for each question, the verdicts, and the source of the runs."""
    rows = [[str(best[name]) for name in COLUMNS] for best in best_table(comparison)]
    lines = [f"### {block(comparison.title)}", "", *table(list(COLUMNS.values()), rows)]
    facts = [best_note(comparison), significance_sentence(comparison.rows)]
    facts += [NOTE] if comparison.has_replicates else []
    facts += [ONE_RANKING_NOTE] if any(row.one_ranking for row in comparison.rows) else []
    facts += [note for group in comparison.languages for note in group.notes]
    facts += [f"{name}: {value}" for name, value in comparison.source.items() if name != "sweep"]
    return "\n".join([*lines, "", *(f"- {block(fact)}" for fact in facts if fact)]) + "\n"
