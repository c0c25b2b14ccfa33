"""Options of the figures of a configuration."""

from __future__ import annotations

from keyneurons.config import outputs
from keyneurons.report.figure_style import WIDTHS, FigureOptions, read_style


def build_figures(report: outputs.Report) -> FigureOptions:
    """The options of figures; the stylesheet is read.

    Raises:
        ValueError: the stylesheet is missing or invalid.
    """
    if report.style is not None:
        read_style(report.style)
    width = report.width if isinstance(report.width, float | int) else WIDTHS[report.width]
    return FigureOptions(report.figure_formats, report.style, width)
