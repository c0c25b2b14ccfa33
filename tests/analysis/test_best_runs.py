"""The best runs by every criterion, and the metrics of runs that depend on other runs."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.best_runs import best_runs
from keyneurons.analysis.run_metrics import common_sizes, with_comparison


def run(accuracy: float, union: float, **more: float) -> dict[str, float]:
    own = {
        "probe/test_accuracy": accuracy,
        "probe/dev_accuracy": accuracy - 0.01,
        "probe/specificity": accuracy - 0.7,
        "selection/union_size": float(union),
        "selection/one_ranking": 0.0,
        "overlap/mean_jaccard": union / 1000,
        "verdict/special": 1.0,
        "verdict/beyond_form": 0.0,
        "worth/neurons": 2.0 * union,
        "control/word_form/difference": accuracy - 0.85,
    }
    return own | {name.replace("__", "/"): value for name, value in more.items()}


RUNS = {
    "small": run(0.80, 40, verdict__special=2.0),
    "middle": run(0.90, 120, verdict__special=2.0, verdict__beyond_form=1.0, worth__neurons=400.0),
    "large": run(0.92, 900, worth__neurons=1100.0),
    "nothing": run(0.95, 30, verdict__special=0.0, worth__neurons=900.0),
    "one_ranking": run(0.65, 10, selection__one_ranking=1.0, verdict__special=2.0, worth__neurons=900.0),
}


def best_of(runs: dict[str, dict[str, float]]) -> dict[str, str]:
    return {best.question: best.run for best in best_runs(with_comparison(runs))}


class TestBestRuns:
    def test_the_best_run_by_every_criterion(self) -> None:
        assert best_of(RUNS) == {
            "accuracy": "large",
            "dev": "large",
            "worth": "middle",  # 280 more random neurons, against 200 of the large one
            "specificity": "large",
            "beyond_form": "middle",  # the large one is further above the form, but not significantly
            "overlap": "small",
            "few_neurons": "small",
        }
        assert {best.of for best in best_runs(with_comparison(RUNS))} == {1, 2, 3}

    def test_one_ranking_for_all_tags_is_never_best(self) -> None:
        assert best_runs(with_comparison({"one_ranking": RUNS["one_ranking"]})) == ()
        without = {name: own for name, own in RUNS.items() if name != "one_ranking"}
        assert best_of(RUNS) == best_of(without)

    def test_runs_without_a_special_set_are_best_only_if_there_is_no_other(self) -> None:
        assert all(best.special and best.run != "nothing" for best in best_runs(with_comparison(RUNS)))
        runs = {name: {**own, "verdict/special": 0.0} for name, own in RUNS.items()}
        found = best_runs(with_comparison(runs))
        assert not any(best.special for best in found)
        assert {best.question: best.run for best in found}["accuracy"] == "nothing"
        assert "few_neurons" not in {best.question for best in found}

    def test_ties_go_to_the_smaller_union(self) -> None:
        [best] = [best for best in best_runs({"a": run(0.9, 40), "b": run(0.9, 20)}) if best.question == "accuracy"]
        assert (best.run, best.ties) == ("b", ("a",))

    def test_runs_without_a_metric_are_ignored(self) -> None:
        assert best_runs({"a": {}, "b": {"probe/test_accuracy": float("nan")}}) == ()
        [best] = best_runs({"a": {}, "b": {"probe/test_accuracy": 0.5}})
        assert (best.run, best.of, best.special) == ("b", 1, False)


def at_sizes(grid: tuple[int, ...], reached: dict[int, float], **more: float) -> dict[str, float]:
    own = {f"equal_size/random/{size}": 0.5 for size in grid}
    return own | {f"equal_size/accuracy/{size}": value for size, value in reached.items()} | run(0.9, 50, **more)


class TestEqualSize:
    GRID = (10, 20, 40, 80)
    RUNS = {
        "a": at_sizes(GRID, {10: 0.6, 20: 0.7, 40: 0.8}),
        "b": at_sizes(GRID, {10: 0.5, 20: 0.9}),
        "c": at_sizes(GRID, {10: 0.9}),
        "d": at_sizes(GRID, {10: 0.1, 20: 0.2, 40: 0.7, 80: 0.99}),
        "e": at_sizes((16, 32), {16: 0.3}),
        "f": {"probe/test_accuracy": 0.9},
    }

    def test_the_largest_size_that_half_of_the_runs_of_a_grid_reach(self) -> None:
        assert common_sizes(self.RUNS) == {"a": 40, "b": 40, "c": 40, "d": 40, "e": 16}

    def test_a_size_that_a_single_run_reaches_compares_nothing(self) -> None:
        assert common_sizes({run: self.RUNS[run] for run in ("a", "b")}) == {"a": 20, "b": 20}

    def test_smaller_runs_are_counted_and_not_ranked(self) -> None:
        first, second = (best for best in best_runs(with_comparison(self.RUNS)) if best.question == "equal_size")
        assert (first.run, first.value, first.size, first.of, first.smaller) == ("a", 0.8, 40, 2, 2)
        assert (second.run, second.size, second.of, second.smaller) == ("e", 16, 1, 0)

    def test_one_ranking_for_all_tags_does_not_lower_the_size(self) -> None:
        ten = {f"one{i}": at_sizes(self.GRID, {10: 0.4}, selection__one_ranking=1.0) for i in range(10)}
        assert common_sizes({**self.RUNS, **ten})["a"] == 40
        assert common_sizes(ten) == dict.fromkeys(ten, 10)


def test_p_values_are_adjusted_over_the_runs_that_have_them() -> None:
    p_values = [0.001, 0.02, 0.03, 0.5]
    runs = {str(i): {"verdict/special_p_value": p} for i, p in enumerate(p_values)}
    found = with_comparison({**runs, "none": {"probe/test_accuracy": 0.5}})
    adjusted = [found[run]["comparison/special_p_adjusted"] for run in runs]
    assert adjusted == pytest.approx([0.004, 0.04, 0.04, 0.5])  # p n / rank, made monotone
    assert "comparison/special_p_adjusted" not in found["none"]


def test_few_runs_of_a_sweep_without_effects_are_called_significant() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(400):
        runs = {str(i): {"verdict/special_p_value": float(p)} for i, p in enumerate(rng.uniform(size=12))}
        false += any(own["comparison/special_p_adjusted"] <= 0.05 for own in with_comparison(runs).values())
    assert false / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert false > 0
