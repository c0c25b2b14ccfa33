"""What the UI shows of an experiment's runs: columns that matter in front, best first, charts against the controls.

MLflow keeps a shared view as JSON in a tag of the experiment and opens it by an address with its key. The names are
those of its UI's own state (version 3.17). It takes the view only from an address without a filter or an order: a
page that is loaded again, whose address has both by then, is shown without it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from keyneurons import metrics

VIEW = "keyneurons"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
PARAMS = ("choice.selection", "site", "layer", "top_k")
METRICS = (
    metrics.ACCURACY,
    metrics.RANDOM,
    metrics.ADVANTAGE,
    metrics.RANDOM_P_VALUE,
    metrics.SELECTIVITY,
    metrics.control_accuracy("all_neurons"),
    metrics.UNION_SHARE,
    metrics.MEAN_COUNT,
    metrics.HALVES_JACCARD,
)
BEST = metrics.ADVANTAGE
NAME, NAME_WIDTH = "attributes.`Run Name`", 260  # short of that the longest names of methods are cut


def view_state() -> str:
    """The shared view as MLflow's UI reads it."""
    columns = [f"params.`{name}`" for name in PARAMS] + [f"metrics.`{name}`" for name in METRICS]
    charts = [
        _chart(
            "PARALLEL",
            selectedParams=["choice.selection", "layer", "top_k"],
            selectedMetrics=[metrics.ACCURACY, BEST],
            showAllRuns=True,
        ),
        _chart("SCATTER", xaxis=_metric(metrics.RANDOM), yaxis=_metric(metrics.ACCURACY)),
        _chart("SCATTER", xaxis=_metric(metrics.UNION_SHARE), yaxis=_metric(BEST)),
        _chart("BAR", metricKey=BEST),
    ]
    state = {
        "selectedColumns": columns,
        "columnOrder": [NAME, *columns],  # a width counts for a column of this list only
        "columnWidths": {NAME: NAME_WIDTH, **{column: max(90, 9 * len(column) - 90) for column in columns}},
        "orderByKey": f"metrics.`{BEST}`",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # else sections stand in the order of their names
        "compareRunSections": [
            {
                "uuid": VIEW,
                "name": "Key neurons against their controls",
                "display": True,
                "isReordered": False,
                "columns": 2,  # the axes of parallel coordinates lie upon one another in a third of the page
                "cardHeight": 400,
            }
        ],
        "compareRunCharts": [{"uuid": f"{VIEW}-{i}", **chart} for i, chart in enumerate(charts)],
    }
    return json.dumps(state)


def view_address(server: str, experiment_id: str) -> str:
    """Where a browser finds the view, without the menus that are for applications of language models."""
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def compare_address(experiment_id: str, runs: Sequence[str]) -> str:
    """The compare page of some runs, as a link within the UI."""
    return f"#/compare-runs?runs={quote(json.dumps(list(runs)))}&experiments={quote(json.dumps([experiment_id]))}"


def artifact_address(experiment_id: str, run_id: str, name: str) -> str:
    """A file among the artifacts of a run, as a link within the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(name)}"


def _chart(kind: str, **options: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "metricSectionId": VIEW,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        **options,
    }


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}
