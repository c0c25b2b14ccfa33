"""An MLflow server whose page opens the runs: ``mlflow server --app-name keyneurons``.

MLflow's UI keeps its workflow and the columns of each experiment in the browser's storage and
ignores what the experiment says. The served page has a script that puts the view of all
experiments of keyneurons there, and opens the runs if the address names no page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.digests import json_digest
from keyneurons.tracking.view import VIEW_TAG, runs_address, view_state

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Response

APP, GROUP = "keyneurons", "mlflow.app"
SCRIPT = Path(__file__).with_name("page.js")
NO_PAGE = "#/experiments"


def app_name() -> str:
    """The name of the app for ``mlflow server``.

    Raises:
        ValueError: if the package was installed before it had the app.
    """
    if not entry_points(group=GROUP, name=APP):
        raise ValueError("the installation of keyneurons is older than its code; install it again (pip install -e .)")
    return APP


def create_app() -> FastAPI:
    """MLflow's server with the page of keyneurons."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app

    pages.view_functions["serve"] = _page  # the name of the function in MLflow
    served: FastAPI = app
    return served


def with_script(html: str, experiments: Mapping[str, int]) -> str:
    """Add the script to MLflow's page.

    Args:
        html: MLflow's page.
        experiments: the creation time of each experiment by its id.
    """
    view = view_state()
    start = runs_address(next(iter(experiments))) if len(experiments) == 1 else NO_PAGE if experiments else ""
    arguments = json.dumps([experiments, view, json_digest(view), start]).replace("<", "\\u003c")
    return html.replace("<head>", f"<head><script>({SCRIPT.read_text('utf-8')})(...{arguments})</script>", 1)


def _page() -> Response:
    from flask import Response
    from mlflow.server import app

    html = Path(str(app.static_folder), "index.html").read_text("utf-8")
    # a stored copy of the page would lack new experiments
    return Response(with_script(html, _experiments()), mimetype="text/html", headers={"Cache-Control": "no-store"})


def _experiments() -> dict[str, int]:
    """The creation times of the experiments that have the view, by id."""
    from mlflow.server.handlers import _get_tracking_store

    store: Any = _get_tracking_store()
    found = store.search_experiments(filter_string=f"tags.`{VIEW_TAG}` LIKE '%'", max_results=1000)
    return {str(each.experiment_id): int(each.creation_time) for each in found}
