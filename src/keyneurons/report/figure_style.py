"""Style, size and file formats of figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.choices import FigureFormat, PaperWidth
from keyneurons.quiet import quiet_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS: dict[PaperWidth, float] = {"one": 3.03, "two": 6.3}
"""Inches of one and two columns of a paper on A4, as in the style of the ACL."""

PAPER: dict[str, Any] = {
    "font.size": 8,
    "figure.dpi": 200,
    "figure.titlesize": "medium",
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
}
FIXED: dict[str, Any] = {
    "text.usetex": False,  # tags may have any characters
    "savefig.dpi": "figure",
    "savefig.bbox": None,
    "svg.hashsalt": "keyneurons",  # equal figures are equal files
}
"""Settings that a stylesheet does not change."""


@dataclass(frozen=True)
class FigureOptions:
    """File formats besides PNG, path of a stylesheet of matplotlib, and width in inches."""

    formats: tuple[FigureFormat, ...] = ()
    style: Path | None = None
    width: float = WIDTHS["two"]


@contextmanager
def styled(options: FigureOptions) -> Generator[Callable[[Figure, Path], Path]]:
    """Apply a style to the figures created and saved in the context.

    Yields:
        The function that saves a figure in all formats; its path has no suffix.
    """
    from matplotlib import rc_context

    from keyneurons.report.drawing import save

    own = {} if options.style is None else read_style(options.style)
    settings: dict[Any, Any] = PAPER | own | FIXED | {"figure.figsize": (options.width, options.width * 0.6)}
    with rc_context(settings), quiet_matplotlib():
        yield partial(save, formats=options.formats)


def read_style(path: Path) -> dict[str, Any]:
    """The settings of a stylesheet.

    Raises:
        ValueError: If the file is missing, or is not a stylesheet; one line with the reason.
    """
    from matplotlib import rc_params_from_file

    wrong = _Messages()
    logger = logging.getLogger("matplotlib")
    logger.addFilter(wrong)
    try:
        settings: Any = rc_params_from_file(path.expanduser(), fail_on_error=True, use_default_template=False)
    except (OSError, UnicodeDecodeError, ValueError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"report.style: {path} is not a readable stylesheet of matplotlib: {_line(reason)}") from error
    finally:
        logger.removeFilter(wrong)
    if wrong.messages:
        raise ValueError(f"report.style: {path} is not a stylesheet of matplotlib: {_line(wrong.messages[0])}")
    return {key: value for key, value in settings.items() if not key.startswith("backend")}


class _Messages(logging.Filter):
    """Collects the messages of a logger instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.messages.append(record.getMessage())
        return False


def _line(message: str) -> str:
    return " ".join(message.partition("\nYou probably")[0].split())
