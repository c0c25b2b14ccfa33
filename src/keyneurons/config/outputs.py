"""Schema of the outputs: what is logged where, and the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from keyneurons.choices import FigureFormat, LogModel
from keyneurons.config.inputs import Section
from keyneurons.config.values import FigureWidth, NonEmptyPath, absolute_database, one_line


class Tracking(Section):
    """Location of the MLflow runs, and what is logged to them."""

    uri: Annotated[str, AfterValidator(absolute_database)]
    artifacts: Annotated[Path, NonEmptyPath, AfterValidator(Path.absolute)] | None
    experiment: Annotated[str, one_line(256)]
    system_metrics: bool
    log_model: LogModel


class Report(Section):
    """Figures of a run and of comparisons of runs."""

    figure_formats: tuple[FigureFormat, ...]
    style: Annotated[Path, NonEmptyPath] | None
    width: FigureWidth
