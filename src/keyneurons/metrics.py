"""MLflow names of the metrics that several stages and reports use, and the significance level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

EqualSize = Literal["accuracy", "random", "top_variance"]

ALPHA = 0.05
"""Significance level: reports call a p-value up to this value significant."""

ACCURACY = "probe/test_accuracy"
DEV_ACCURACY = "probe/dev_accuracy"
MACRO_F1 = "probe/test_macro_f1"
ADVANTAGE = "probe/advantage"
SELECTIVITY = "probe/selectivity"
SPECIFICITY = "probe/specificity"
SPECIAL, BEYOND_FORM, GRAMMAR = "verdict/special", "verdict/beyond_form", "verdict/grammar"
WORTH, WORTH_REACHED = "worth/neurons", "worth/reached"
ONE_RANKING = "selection/one_ranking"
UNION_SIZE = "selection/union_size"
UNION_SHARE = "selection/union_fraction"
SAMPLED_WORDS = "selection/sampled_words"
MEAN_JACCARD = "overlap/mean_jaccard"
MEAN_COEFFICIENT = "overlap/mean_coefficient"
MEAN_COUNT = "overlap/mean_count"
HALVES_JACCARD = "stability/halves/jaccard"


def control_accuracy(name: str) -> str:
    """Test accuracy of a control, averaged over its draws."""
    return f"control/{name}/test_accuracy"


def control_spread(name: str) -> str:
    """Standard deviation of the accuracy over the draws of a control."""
    return f"control/{name}/test_accuracy_std"


def control_difference(name: str) -> str:
    """Accuracy of the key neurons minus that of a control without a contrast of its own."""
    return f"control/{name}/difference"


def control_p_value(name: str) -> str:
    """p-value of the test that the difference between the key neurons and a control is above 0."""
    return f"control/{name}/p_value"


def control_p_adjusted(name: str) -> str:
    """p-value of a control in one layer after Benjamini-Hochberg over the layers."""
    return f"control/{name}/p_adjusted"


def control_z(name: str) -> str:
    """The difference to a control in standard deviations of its draws."""
    return f"control/{name}/z"


def answer_p_value(question: str) -> str:
    """p-value of a question of the verdict, after Holm's correction over the questions."""
    return f"{question}_p_value"


def equal_size(which: EqualSize, size: int) -> str:
    """Accuracy at a size of the grid: of the key neurons (``accuracy``) or of label-free sets."""
    return f"equal_size/{which}/{size}"


def at_sizes(metrics: Mapping[str, float], which: EqualSize) -> dict[int, float]:
    """Accuracies at equal union size, by size: of the key neurons or of label-free sets."""
    prefix = f"equal_size/{which}/"
    sizes = sorted(name for name in metrics if name.startswith(prefix) and name.removeprefix(prefix).isdecimal())
    return {int(name.removeprefix(prefix)): metrics[name] for name in sizes}


def low(name: str) -> str:
    """Lower end of the 95 % interval of a metric."""
    return f"{name}_low"


def high(name: str) -> str:
    """Upper end of the 95 % interval of a metric."""
    return f"{name}_high"


def least(name: str) -> str:
    """Smallest value of a metric over replicates."""
    return f"{name}_min"


def most(name: str) -> str:
    """Largest value of a metric over replicates."""
    return f"{name}_max"


RANDOM = control_accuracy("random")
RANDOM_SPREAD = control_spread("random")
RANDOM_P_VALUE = control_p_value("random")
"""Metrics of the matched random sets, the control that comparisons of runs use."""

FORM_DIFFERENCE = control_difference("word_form")
"""Accuracy of the key neurons minus that of a classifier of the word form."""
