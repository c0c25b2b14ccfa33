"""The best run for each question, with its controls, as rows of a table."""

from __future__ import annotations

from typing import Any

from keyneurons.analysis.best_runs import Best
from keyneurons.analysis.run_metrics import GAIN, adjusted
from keyneurons.metrics import ACCURACY, DEV_ACCURACY, RANDOM, RANDOM_SPREAD, SPECIAL, UNION_SIZE, WORTH
from keyneurons.report.comparison.columns import OF_METRIC
from keyneurons.report.comparison.significance import noun_of
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.phrases import counted

QUESTIONS = {
    "accuracy": "Highest accuracy",
    "dev": "Highest accuracy, chosen on dev words",
    "equal_size": "Highest accuracy at equal size",
    "worth": "Largest worth",
    "specificity": "Most specific to the tags",
    "beyond_form": "Most beyond the word form",
    "overlap": "Smallest overlap between tags",
    "few_neurons": "Fewest neurons",
}
BEST_FOR = {
    "accuracy": "accuracy",
    "dev": "dev accuracy",
    "equal_size": "accuracy at equal size",
    "worth": "worth",
    "specificity": "specificity",
    "beyond_form": "beyond the word form",
    "overlap": "smallest overlap",
    "few_neurons": "fewest neurons",
}
CAUTION = (
    "The best of many runs on the same test words is partly luck, which no p-value here accounts for: "
    "report the run chosen on dev words for an unbiased accuracy."
)
ONE_RANKING_NOTE = "* One ranking for all tags: such methods are not ranked."


def best_table(comparison: RunComparison) -> list[dict[str, Any]]:
    """One row per question: the best run, its value, its controls, and the candidate runs."""
    return [_best(comparison, best) for best in comparison.best]


def best_note(comparison: RunComparison) -> str:
    """Which runs are ranked: those better than random neurons, or all if there are none."""
    if not comparison.best:
        return "No run is ranked."
    if all(best.special for best in comparison.best):
        return "Only runs that are better than as many random neurons are ranked."
    return "No run is shown to be better than as many random neurons, so all runs are ranked."


def _best(comparison: RunComparison, best: Best) -> dict[str, Any]:
    row = comparison.row(best.run)
    m = row.metrics
    control = f"{m[RANDOM]:.3f} ± {m[RANDOM_SPREAD]:.3f}" if RANDOM in m and RANDOM_SPREAD in m else "-"
    return {
        "question": QUESTIONS[best.question] + (f": {counted(best.size, 'neuron')}" if best.size else ""),
        "run": row.label,
        "id": row.id,
        "value": _value(best, m),
        "accuracy": OF_METRIC[ACCURACY].cell(m),
        "interval": OF_METRIC[ACCURACY].interval(m),
        "random": control,
        "p": OF_METRIC[adjusted(SPECIAL)].cell(m),
        "dev": OF_METRIC[DEV_ACCURACY].cell(m),
        "chosen": _chosen(best, noun_of(comparison.rows)),
        "ties": [comparison.row(run).label for run in best.ties],
    }


def _value(best: Best, metrics: Any) -> str:
    column = OF_METRIC[best.metric]
    if best.metric == GAIN:
        worth, union = OF_METRIC[WORTH].cell(metrics), OF_METRIC[UNION_SIZE].cell(metrics)
        return f"{union} worth {worth}"
    return column.cell(metrics)


def _chosen(best: Best, noun: str) -> str:
    which = {
        "beyond_form": " beyond the word form",
        "few_neurons": " better than random and label-free ones",
    }.get(best.question, "")
    smaller = f"; {best.smaller} with fewer neurons" if best.smaller else ""
    words = (
        ""
        if best.question in ("overlap", "few_neurons")
        else f", on {'dev' if best.question == 'dev' else 'test'} words"
    )
    return f"{counted(best.of, noun)}{which}{words}{smaller}"
