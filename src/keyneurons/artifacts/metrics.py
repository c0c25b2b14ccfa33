"""``metrics.json``: every metric of a run; ``curves.json``: metrics by layer or epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, RootModel

from keyneurons.artifacts.plain import read_json, validate
from keyneurons.atomic_files import write_json
from keyneurons.metric_names import check_name, metric_name

METRICS_FILE = "metrics.json"
CURVES_FILE = "curves.json"
Step = Annotated[str, Field(pattern=r"^[0-9]{1,6}$")]


def _name(name: str) -> str:
    check_name(metric_name(name))
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_name)]


class Metrics(RootModel[Annotated[Mapping[Name, float], Field(min_length=1)]]):
    """Finite numbers by metric name, at least one."""

    model_config = ConfigDict(frozen=True, strict=True)


class Curves(RootModel[Mapping[Name, Mapping[Step, float]]]):
    """Finite numbers by metric name and step."""

    model_config = ConfigDict(frozen=True, strict=True)


def write_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write the metrics of a run into its folder."""
    write_json(folder / METRICS_FILE, dict(metrics))


def write_curves(folder: Path, curves: Mapping[str, Mapping[int, float]]) -> None:
    """Write curves into a run's folder; the layer or epoch is the step in MLflow."""
    write_json(folder / CURVES_FILE, {name: dict(curve) for name, curve in curves.items()})


def read_metrics(folder: Path) -> Mapping[str, float]:
    """The metrics in a run's folder.

    Raises:
        ValueError: the file is damaged.
    """
    return validate(Metrics, read_json(folder / METRICS_FILE), folder / METRICS_FILE).root


def read_curves(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """The curves in a run's folder, empty if the file is missing.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / CURVES_FILE
    return validate(Curves, read_json(path), path).root if path.exists() else {}
