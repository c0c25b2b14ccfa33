"""Runs with made-up metrics and sets, and their comparison as page and console output."""

from __future__ import annotations

import io
from typing import Any

from reading_pages import Page
from rich.console import Console

from keyneurons.analysis.best_runs import best_runs
from keyneurons.artifacts.run_sets import explain_groups, group_sets
from keyneurons.report.comparison.configurations import configurations
from keyneurons.report.comparison.console import show_comparison
from keyneurons.report.comparison.page import page
from keyneurons.report.comparison.run_table import FinishedRun, run_rows
from keyneurons.report.comparison.tables import RunComparison

EVIL = "<script>alert('x')</script>"


def run(name: str, params: dict[str, str], accuracy: float = 0.5, **more: float) -> FinishedRun:
    metrics = {
        "probe/test_accuracy": accuracy,
        "probe/dev_accuracy": accuracy - 0.01,
        "probe/advantage": accuracy - 0.25,
        "probe/selectivity": accuracy - 1 / 3,
        "control/random/test_accuracy": 0.25,
        "control/random/test_accuracy_std": 0.01,
        "control/random/p_value": 0.04,
        "selection/union_fraction": 0.1,
        "selection/union_size": 12.0,
        "overlap/mean_jaccard": 0.05,
        "probe/test_accuracy_low": accuracy - 0.02,
        "probe/test_accuracy_high": accuracy + 0.03,
        "probe/advantage_low": accuracy - 0.27,
        "probe/advantage_high": accuracy - 0.22,
        "verdict/special": 1.0,
        "verdict/special_p_value": 0.03,
        "verdict/beyond_form": 0.0,
        "verdict/beyond_form_p_value": 0.4,
        "worth/neurons": 20.0,
        "worth/neurons_low": 14.0,
        "worth/neurons_high": 32.0,
        "worth/reached": 1.0,
        **{f"equal_size/random/{size}": 0.1 + size / 100 for size in (8, 16, 32)},
        "equal_size/accuracy/8": accuracy - 0.1,
    }
    return FinishedRun(name, name, params, {**metrics, **more}, {"layer": params.get("layer", "8")})


def asked(method: str, k: int, layer: int = 8, **more: str) -> dict[str, str]:
    own = {"choice.selection": method, "selection._target_": f"keyneurons.{method}", "top_k": str(k)}
    return {**own, "layer": str(layer), "tracking.uri": "x", "site": "mlp", **more}


def file(*neurons: int, site: str = "mlp", tag: str = "NOUN", layer: int = 8, **model: Any) -> dict[str, Any]:
    bound = {"id": "toy", "revision": "r", "architecture": "a", "tokenizer": "t", "random_weights": None, **model}
    own = [{"layer": layer, "neuron": n, "score": 0.5} for n in neurons]
    return {
        "format": 1,
        "model": bound,
        "dataset": {"id": "d", "digest": "0"},
        "tag_column": "upos",
        "site": site,
        "layers": [layer],
        "neurons_per_layer": 32,
        "read_at": "word",
        "tags": {tag: own},
    }


def comparison(runs: list[FinishedRun], files: list[dict[str, Any]], **left_out: tuple[str, ...]) -> RunComparison:
    each = run_rows(runs)
    by_run = {one.id: own for one, own in zip(runs, files, strict=True)}
    ordered = {row.id: by_run[row.id] for row in each}
    groups = group_sets(ordered, None)
    rows = configurations(each, [group.agreement for group in groups if group.agreement is not None])
    best = best_runs({row.id: row.metrics for row in rows})
    return RunComparison(
        f"{len(each)} runs", {"sweep": EVIL}, each, rows, best, groups, explain_groups(groups), left_out, None, ordered
    )


def shown(found: RunComparison) -> Page:
    return Page(page(found))


def printed(found: RunComparison) -> str:
    output = io.StringIO()
    show_comparison(found, Console(file=output, width=300))
    return output.getvalue()
