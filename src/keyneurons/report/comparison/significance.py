"""Runs with a significant verdict, after correction for the number of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyneurons.analysis.run_metrics import QUESTIONS, adjusted
from keyneurons.metrics import ALPHA, BEYOND_FORM, GRAMMAR, SPECIAL
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.phrases import counted

LABELS = {
    SPECIAL: "special (better than as many random neurons)",
    BEYOND_FORM: "beyond the word form",
    GRAMMAR: "grammar (more than labels without grammar)",
}


@dataclass(frozen=True)
class Significance:
    """Number of tested and of significant runs or configurations for a question of the verdict."""

    question: str
    tested: int
    significant: int
    noun: str = "run"

    def __str__(self) -> str:
        return f"{LABELS[self.question]}: {self.significant} of {counted(self.tested, self.noun)}"


def noun_of(rows: Sequence[RunRow]) -> str:
    """What a row of the table is."""
    return "configuration" if any(row.replicates for row in rows) else "run"


def significances(rows: Sequence[RunRow]) -> tuple[Significance, ...]:
    """Count the runs for every question that any run has tested.

    A run counts as significant if its verdict is not 0 and its adjusted p-value is up to alpha.
    """
    counts = []
    for question in QUESTIONS:
        tested = [row.metrics for row in rows if adjusted(question) in row.metrics]
        significant = sum(own[adjusted(question)] <= ALPHA and own.get(question, 0) > 0 for own in tested)
        if tested:
            counts.append(Significance(question, len(tested), significant, noun_of(rows)))
    return tuple(counts)


def significance_sentence(rows: Sequence[RunRow]) -> str:
    """The counts of all questions; empty without tested runs."""
    found = significances(rows)
    if not found:
        return ""
    over = f"{noun_of(rows)}s (p ≤ {ALPHA:.2f})"
    return f"Significant after Benjamini-Hochberg over the {over}: {'; '.join(map(str, found))}."
