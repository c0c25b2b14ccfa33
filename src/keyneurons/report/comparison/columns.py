"""Columns of the table of runs: metrics, their heads, descriptions and formats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyneurons.analysis.run_metrics import (
    EQUAL_SIZE,
    EQUAL_SIZE_ACCURACY,
    GAIN,
    SEED_CHANCE,
    SEED_JACCARD,
    SEEDS,
    adjusted,
)
from keyneurons.metrics import (
    ACCURACY,
    ADVANTAGE,
    BEYOND_FORM,
    DEV_ACCURACY,
    FORM_DIFFERENCE,
    GRAMMAR,
    MEAN_COEFFICIENT,
    MEAN_JACCARD,
    ONE_RANKING,
    RANDOM,
    RANDOM_P_VALUE,
    RANDOM_SPREAD,
    SELECTIVITY,
    SPECIAL,
    SPECIFICITY,
    UNION_SHARE,
    UNION_SIZE,
    WORTH,
    WORTH_REACHED,
    answer_p_value,
    at_sizes,
    control_accuracy,
    control_z,
    high,
    least,
    low,
    most,
)
from keyneurons.report.comparison.run_table import RunRow

LESION, LESION_P = "lesion/diagonal_advantage", "lesion/diagonal_p_value"
YES = ("no", "yes")


@dataclass(frozen=True)
class Column:
    """A metric as a column: its head, its description, and the format of a value.

    ``words`` replace the values 0, 1, ... . A ``short`` column is also printed on the console.
    """

    metric: str
    head: str
    description: str
    format: str = ".3f"
    words: tuple[str, ...] = ()
    short: bool = False

    def cell(self, metrics: Mapping[str, float]) -> str:
        """The value of a run; ``-`` if it has none."""
        value = metrics.get(self.metric)
        if value is None:
            return "-"
        if self.words:
            return self.words[int(value)]
        more = "> " if self.metric in (WORTH, GAIN) and metrics.get(WORTH_REACHED) == 0 else ""
        return f"{more}{value:{self.format}}"

    def interval(self, metrics: Mapping[str, float]) -> str:
        """The 95 % interval of the value; empty if it has none."""
        ends = [metrics.get(low(self.metric)), metrics.get(high(self.metric))]
        most = max(at_sizes(metrics, "random"), default=math.inf) if self.metric == WORTH else math.inf
        shown = [
            f"{'> ' if end >= most else ''}{end:{self.format.removeprefix('+')}}" for end in ends if end is not None
        ]
        return " to ".join(shown) if len(shown) == len(ends) else ""

    def with_interval(self, metrics: Mapping[str, float]) -> str:
        """The value with its interval: ``0.856 (0.843 to 0.869)``."""
        interval = self.interval(metrics)
        return self.cell(metrics) + (f" ({interval})" if interval else "")


COLUMNS = (
    Column(SEEDS, "seeds", "number of runs, which differ in their seed only", ".0f", short=True),
    Column(
        ACCURACY,
        "accuracy",
        "share of test words classified correctly by a linear probe on all key neurons",
        short=True,
    ),
    Column(RANDOM, "random sets", "mean accuracy of random sets with as many neurons in each layer", short=True),
    Column(ADVANTAGE, "advantage", "accuracy minus that of the random sets", "+.3f", short=True),
    Column(control_z("random"), "z", "advantage in standard deviations of the random sets", ".1f"),
    Column(
        WORTH, "worth", "number of random neurons with the same accuracy; > if all are not enough", ".0f", short=True
    ),
    Column(GAIN, "worth - union", "worth minus the number of key neurons", "+.0f"),
    Column(
        SPECIAL,
        "special",
        "verdict: 1 if better than as many random neurons, 2 if also better than label-free ones, otherwise 0",
        ".0f",
        short=True,
    ),
    Column(BEYOND_FORM, "form", "verdict: whether they tell more than the form of the word", words=YES, short=True),
    Column(
        GRAMMAR,
        "grammar",
        "verdict: whether they tell more of the tags than reselected neurons of labels without grammar",
        words=YES,
        short=True,
    ),
    Column(adjusted(SPECIAL), "p special", "p-value of the first level of special, corrected for the number of runs"),
    Column(adjusted(BEYOND_FORM), "p form", "p-value of form, corrected for the number of runs"),
    Column(adjusted(GRAMMAR), "p grammar", "p-value of grammar, corrected for the number of runs"),
    Column(EQUAL_SIZE_ACCURACY, "at equal size", "accuracy of the strongest key neurons, as many as most runs have"),
    Column(SPECIFICITY, "specificity", "advantage minus that of neurons reselected for labels without grammar", "+.3f"),
    Column(FORM_DIFFERENCE, "over form", "accuracy minus that of a classifier of the word form", "+.3f"),
    Column(UNION_SIZE, "union", "number of key neurons of all tags", ".0f", short=True),
    Column(UNION_SHARE, "union share", "share of the neurons read that are key neurons of any tag", ".1%"),
    Column(MEAN_JACCARD, "overlap", "mean Jaccard of the sets of two tags"),
    Column(SEED_JACCARD, "seeds agree", "mean Jaccard of the sets of two seeds", short=True),
    Column(SEED_CHANCE, "by chance", "the same for random sets of the same sizes", short=True),
    Column(
        LESION, "lesion advantage", "bits per word by which lesions hurt a tag's own words more than others", "+.3f"
    ),
    Column(LESION_P, "lesion p", "p-value of the lesion advantage"),
    Column(DEV_ACCURACY, "dev accuracy", "accuracy on the dev words, which also control early stopping"),
)
COEFFICIENT = Column(MEAN_COEFFICIENT, "overlap", "mean overlap coefficient of the sets of two tags")
_AT_SIZE = re.compile(r"equal_size/.*/[0-9]+")
OF_METRIC = {column.metric: column for column in COLUMNS}
MORE_METRICS = (
    ONE_RANKING,
    RANDOM_SPREAD,
    RANDOM_P_VALUE,
    SELECTIVITY,
    control_accuracy("top_variance"),
    control_accuracy("word_form"),
    *map(answer_p_value, (SPECIAL, BEYOND_FORM, GRAMMAR)),
    WORTH_REACHED,
    EQUAL_SIZE,
    MEAN_COEFFICIENT,
)  # only in the CSV file


def columns_of(rows: Sequence[RunRow]) -> tuple[Column, ...]:
    """The columns that any run has a value of.

    The overlap coefficient replaces a missing Jaccard index.
    """
    names = {name for row in rows for name in row.metrics}
    replaced = [COEFFICIENT] if MEAN_JACCARD not in names and MEAN_COEFFICIENT in names else []
    return tuple(column for column in (*COLUMNS, *replaced) if column.metric in names)


def csv_metrics(rows: Sequence[RunRow]) -> list[str]:
    """Metrics of the CSV file: columns with intervals and extremes, further ones, equal sizes."""
    names = {name for row in rows for name in row.metrics}
    ends = (low, high, least, most)
    shown = [name for c in columns_of(rows) for name in (c.metric, *(end(c.metric) for end in ends))]
    at_sizes = sorted((name for name in names if _AT_SIZE.fullmatch(name)), key=_by_size)
    return [name for name in dict.fromkeys([*shown, *MORE_METRICS, *at_sizes]) if name in names]


def _by_size(name: str) -> tuple[str, int]:
    which, _, size = name.rpartition("/")
    return which, int(size)


def heads(columns: Iterable[Column]) -> list[tuple[str, str]]:
    """Head and description of each column."""
    return [(column.head, column.description) for column in columns]
