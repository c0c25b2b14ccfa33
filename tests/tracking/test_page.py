"""The page of the MLflow server: the experiments that get columns, and what the address opens."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from keyneurons.tracking import Store
from keyneurons.tracking.page import _experiments, with_script
from keyneurons.tracking.view import VIEW_TAG, view_state

HTML = '<!doctype html><html><head><script defer="defer" src="main.js"></script></head><body></body></html>'


def arguments_of(page: str) -> Any:
    """The arguments of the script in a page."""
    found = re.search(r"\(\.\.\.(\[.*?\])\)</script>", page)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("experiments", "start"),
    [
        ({"7": 1}, "#/experiments/7/runs?workflowType=machine_learning"),
        ({"7": 1, "8": 2}, "#/experiments"),
        ({}, ""),
    ],
    ids=["one", "two", "none"],
)
def test_the_plain_address_opens_the_only_experiment_or_the_list(experiments: dict[str, int], start: str) -> None:
    page = with_script(HTML, experiments)
    given, view, version, opened = arguments_of(page)
    assert (given, view, opened) == (experiments, view_state(), start)
    assert re.fullmatch("[0-9a-f]{64}", version)
    assert page.index("localStorage") < page.index("main.js")
    assert page.endswith(HTML.removeprefix("<!doctype html><html><head>"))


def test_nothing_in_the_arguments_ends_the_script() -> None:
    page = with_script(HTML, {"</script><script>alert(1)</script>": 1})
    assert page.count("</script>") == HTML.count("</script>") + 1
    assert arguments_of(page)[0] == {"</script><script>alert(1)</script>": 1}


def test_only_experiments_with_the_view_are_listed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.server import handlers
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    address = f"sqlite:///{tmp_path}/mlflow.db"
    client = Store(address, tmp_path, "ours").connect()
    other = client.create_experiment("other")
    monkeypatch.setattr(handlers, "_get_tracking_store", lambda: SqlAlchemyStore(address, str(tmp_path)))
    ours = client.get_experiment_by_name("ours")
    assert _experiments() == {ours.experiment_id: ours.creation_time}
    client.set_experiment_tag(other, VIEW_TAG, "{}")
    assert set(_experiments()) == {ours.experiment_id, other}
