"""How every figure comes into its file: its text as it is written, in fonts that have its characters."""

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
_USUAL = 12  # columns of a label that every figure has room for


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, *, cropped: bool = False) -> None:
    """Draw a figure into a file; it cannot be laid out anew afterwards.

    Text is never read as mathematics. Characters that the default font lacks come from other fonts of this machine;
    where none has them a box stands in their place, without a warning.

    Args:
        figure: the figure.
        path: the file, a PNG.
        cropped: whether the picture is as large as what is drawn, not as large as the figure.
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
            figure.set_layout_engine("none")  # or savefig draws everything once more, for the layout alone
        figure.savefig(picture, format="png", bbox_inches="tight" if cropped else None)
    write_bytes(path, picture.getvalue())


def labels_of(names: Sequence[str]) -> list[str]:
    """Names as labels: in the middle of long ones something is left out, unless they could not be told apart then."""
    labels = list(map(shortened, names))
    return labels if len(set(labels)) == len(set(names)) else list(names)


def in_legend(label: str) -> str:
    """A label that a legend shows: matplotlib leaves out those that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label


def room_for(labels: Sequence[str]) -> float:
    """Inches that labels need beyond the room that every figure has for them."""
    columns = max((sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in label) for label in labels), default=0)
    return 0.1 * max(0, columns - _USUAL)


@cache
def _other_families(characters: frozenset[str]) -> tuple[str, ...]:
    """Fonts of this machine, but not those that matplotlib has for formulas, for what the default font lacks."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    missing = characters - _characters(findfont(FontProperties()))
    fonts = [font for font in fontManager.ttflist if not font.fname.startswith(get_data_path())] if missing else []
    families: list[str] = []
    for font in sorted(fonts, key=lambda font: (font.weight != 400, font.style != "normal", font.name)):
        if found := missing & _characters(font.fname):
            families.append(font.name)
            missing -= found
    return tuple(families)


@cache
def _characters(font: str) -> frozenset[str]:
    """The characters of a font; none if its file is gone or damaged."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(font).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
