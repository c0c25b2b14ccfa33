"""The views of MLflow's runs page: main columns first, runs sorted by worth, charts.

MLflow saves a view as JSON in a tag of the experiment, lists it under *Views*, and opens it by an
address with its key. The UI writes filter and order of an opened view into the address; after a
reload it keeps those, but takes columns and charts from the browser's storage. ``page`` puts the
view there. All names are those of the UI of MLflow 3.17.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from keyneurons import metrics

VIEW, TITLE = "keyneurons", "Key neurons and controls"
TAG = "mlflow.sharedViewState."
VIEW_TAG = f"{TAG}{VIEW}"
AXES = ("choice.selection", "layer", "top_k")
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


def view_state(axes: Sequence[str] = AXES, condition: str = "") -> str:
    """A view in the format of MLflow's UI.

    Args:
        axes: params that are axes of the parallel coordinates.
        condition: filter of the runs in MLflow's syntax.
    """
    columns = [f"params.`{name}`" for name in PARAMS] + [f"metrics.`{name}`" for name in METRICS]
    state = {
        "selectedColumns": columns,
        "columnOrder": [NAME, *columns],  # widths apply only to columns in this list
        "columnWidths": {NAME: NAME_WIDTH, **{column: max(90, 9 * len(column) - 90) for column in columns}},
        "searchFilter": condition,
        "orderByKey": f"metrics.`{BEST}`",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # otherwise sections are sorted by name
        "compareRunSections": [
            {
                "uuid": VIEW,
                "name": TITLE,
                "display": True,
                "isReordered": False,
                "columns": 2,  # with three columns the axes of parallel coordinates overlap
                "cardHeight": 400,
            }
        ],
        "compareRunCharts": [{"uuid": f"{VIEW}-{i}", **chart} for i, chart in enumerate(_charts(axes))],
    }
    return json.dumps(state)


def saved_view() -> str:
    """The view of all runs as a saved view, which the UI lists under *Views*."""
    return json.dumps({"name": TITLE, "createdAt": 0, "updatedAt": 0, "state": view_state()})


def sweep_view(parent: str, axes: Sequence[str]) -> tuple[str, str]:
    """The tag and the value of the view of a sweep's runs.

    It is not a saved view, since the UI lists 40 of them at most.

    Args:
        parent: id of the sweep's run.
        axes: params that the sweep varies.
    """
    return f"{TAG}{parent}", view_state(axes or AXES, f"tags.`mlflow.parentRunId` = '{parent}'")


def runs_address(experiment_id: str, view: str | None = None, charts: bool = False) -> str:
    """The link within the UI to the runs page, with the UI for model training.

    Args:
        experiment_id: the experiment.
        view: key of a view; None for the columns in the browser's storage.
        charts: whether to open the charts instead of the table.
    """
    address = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    address += "" if view is None else f"&viewStateShareKey={view}"
    return address + ("&compareRunsMode=CHART" if charts else "")


def view_address(server: str, experiment_id: str) -> str:
    """The address of the view of all runs on a server."""
    return f"{server}/{runs_address(experiment_id, VIEW)}"


def compare_address(experiment_id: str, runs: Sequence[str]) -> str:
    """The link within the UI to the compare page of some runs."""
    return f"#/compare-runs?runs={quote(json.dumps(list(runs)))}&experiments={quote(json.dumps([experiment_id]))}"


def artifact_address(experiment_id: str, run_id: str, name: str) -> str:
    """The link within the UI to an artifact of a run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(name)}"


def _charts(axes: Sequence[str]) -> list[dict[str, Any]]:
    accuracy, size, best = _metric(metrics.ACCURACY), _metric(metrics.UNION_SIZE), _metric(BEST)
    both = [metrics.ACCURACY, BEST]
    return [
        _chart("PARALLEL", selectedParams=list(axes), selectedMetrics=both, showAllRuns=True),
        _chart("SCATTER", xaxis=size, yaxis=accuracy),
        _chart("SCATTER", xaxis=size, yaxis=best),
        _chart("BAR", metricKey=BEST),
    ]


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
