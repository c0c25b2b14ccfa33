"""Creating and saving figures: literal text, in fonts that have its characters."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.atomic_files import write_bytes
from keyneurons.metric_names import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
KEY, CONTROL = "#0072b2", "#999999"  # colour-blind safe, from Okabe & Ito
PALE = "#e4e4e4"  # grids and empty cells
_LABEL_COLUMNS = 12  # every figure has room for labels of this width


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure that needs no display; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, *, cropped: bool = False) -> None:
    """Save a figure as PNG; its layout is fixed afterwards.

    Text is never parsed as mathematics. Characters that the default font lacks come from other
    installed fonts; characters in no font are drawn as boxes, without a warning.

    Args:
        figure: The figure.
        path: Path of the PNG file.
        cropped: Whether to crop the image to the drawn content.
    """
    from matplotlib import rc_context, rcParams
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    families = [*rcParams["font.family"], *_other_families(frozenset("".join(text.get_text() for text in texts)))]
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(families)
    picture = BytesIO()
    with rc_context({"text.parse_math": False, "font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ \(.*\) missing from font", UserWarning)
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # otherwise savefig draws once more for the layout
        figure.savefig(picture, format="png", bbox_inches="tight" if cropped else None)
    write_bytes(path, picture.getvalue())


def labels_of(names: Sequence[str]) -> list[str]:
    """Shorten long names in the middle, unless that makes two names equal."""
    labels = list(map(shortened, names))
    return labels if len(set(labels)) == len(set(names)) else list(names)


def in_legend(label: str) -> str:
    """Protect a legend label: matplotlib hides labels that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label


def room_for(labels: Sequence[str]) -> float:
    """Inches that long labels need in addition to the room in every figure."""
    columns = max((sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in label) for label in labels), default=0)
    return 0.1 * max(0, columns - _LABEL_COLUMNS)


@cache
def _other_families(characters: frozenset[str]) -> tuple[str, ...]:
    """Installed fonts for characters missing in the default font, without math fonts."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    missing = characters - _characters(findfont(FontProperties()))
    fonts = [font for font in fontManager.ttflist if not font.fname.startswith(get_data_path())] if missing else []
    families: list[str] = []
    for font in sorted(fonts, key=lambda font: (font.weight != 400, font.style != "normal", font.name)):
        if covered := missing & _characters(font.fname):
            families.append(font.name)
            missing -= covered
    return tuple(families)


@cache
def _characters(font: str) -> frozenset[str]:
    """The characters of a font; empty if its file is missing or damaged."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(font).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
