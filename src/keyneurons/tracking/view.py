"""The preconfigured MLflow view: main columns first, runs sorted by worth, charts.

MLflow stores a shared view as JSON in a tag of the experiment and opens it by an address with its
key. The names are those of the UI's state in MLflow 3.17. The UI applies the view only if the
address has no filter and no order; it adds both, so that a reloaded page does not show the view.
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
    metrics.WORTH,
    metrics.ADVANTAGE,
    metrics.SPECIAL,
    metrics.BEYOND_FORM,
    metrics.GRAMMAR,
    metrics.SPECIFICITY,
    metrics.RANDOM,
    metrics.answer_p_value(metrics.SPECIAL),
    metrics.UNION_SIZE,
    metrics.UNION_SHARE,
    metrics.HALVES_JACCARD,
    metrics.ONE_RANKING,
)
BEST = metrics.WORTH
NAME, NAME_WIDTH = "attributes.`Run Name`", 260  # fits the longest method names


def view_state() -> str:
    """The shared view in the format of MLflow's UI."""
    columns = [f"params.`{name}`" for name in PARAMS] + [f"metrics.`{name}`" for name in METRICS]
    charts = [
        _chart(
            "PARALLEL",
            selectedParams=["choice.selection", "layer", "top_k"],
            selectedMetrics=[metrics.ACCURACY, BEST],
            showAllRuns=True,
        ),
        _chart("SCATTER", xaxis=_metric(metrics.UNION_SIZE), yaxis=_metric(metrics.ACCURACY)),
        _chart("SCATTER", xaxis=_metric(metrics.UNION_SIZE), yaxis=_metric(BEST)),
        _chart("BAR", metricKey=BEST),
    ]
    state = {
        "selectedColumns": columns,
        "columnOrder": [NAME, *columns],  # widths apply only to columns in this list
        "columnWidths": {NAME: NAME_WIDTH, **{column: max(90, 9 * len(column) - 90) for column in columns}},
        "orderByKey": f"metrics.`{BEST}`",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # otherwise sections are sorted by name
        "compareRunSections": [
            {
                "uuid": VIEW,
                "name": "Key neurons and controls",
                "display": True,
                "isReordered": False,
                "columns": 2,  # with three columns the axes of parallel coordinates overlap
                "cardHeight": 400,
            }
        ],
        "compareRunCharts": [{"uuid": f"{VIEW}-{i}", **chart} for i, chart in enumerate(charts)],
    }
    return json.dumps(state)


def view_address(server: str, experiment_id: str) -> str:
    """The address of the view, with the UI for model training instead of the one for GenAI."""
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def compare_address(experiment_id: str, runs: Sequence[str]) -> str:
    """The link within the UI to the compare page of some runs."""
    return f"#/compare-runs?runs={quote(json.dumps(list(runs)))}&experiments={quote(json.dumps([experiment_id]))}"


def artifact_address(experiment_id: str, run_id: str, name: str) -> str:
    """The link within the UI to an artifact of a run."""
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
