"""MLflow names of the metrics that several stages and reports use, and the significance level."""

ALPHA = 0.05
"""Significance level: reports call a p-value up to this value significant."""

ACCURACY = "probe/test_accuracy"
DEV_ACCURACY = "probe/dev_accuracy"
MACRO_F1 = "probe/test_macro_f1"
ADVANTAGE = "probe/advantage"
SELECTIVITY = "probe/selectivity"
UNION_SIZE = "selection/union_size"
UNION_SHARE = "selection/union_fraction"
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


def control_p_value(name: str) -> str:
    """p-value of the key neurons' accuracy against the draws of a control."""
    return f"control/{name}/p_value"


RANDOM = control_accuracy("random")
RANDOM_SPREAD = control_spread("random")
RANDOM_P_VALUE = control_p_value("random")
"""Metrics of the matched random sets, the control that comparisons of runs use."""
