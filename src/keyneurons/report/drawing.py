"""Creating and saving figures: literal text, in fonts that have its characters."""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from keyneurons.atomic_files import write_bytes
from keyneurons.choices import FigureFormat
from keyneurons.metric_names import shortened
from keyneurons.report.fonts import further_families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEY, CONTROL = "#0072b2", "#999999"  # colour-blind safe, from Okabe & Ito
PALE = "#e4e4e4"  # grids and empty cells
WITHOUT_DATE: dict[FigureFormat, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_COLUMN = 0.57  # width of a character in units of the font size
_PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#000000")


def new_figure(height: float, title: str = "") -> Figure:
    """Create an empty figure that needs no display, of the width of ``figure_width``.

    Args:
        height: Height without the title, in inches.
        title: Title of the figure; long lines are wrapped.

    Returns:
        The figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [line for part in title.splitlines() for line in wrapped(part, figure_width() - 0.1)]
    figure = Figure(figsize=(figure_width(), height + 1.3 * font_size() / 72 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    if lines:
        figure.suptitle("\n".join(lines), x=0.01, ha="left")
    return figure


def figure_width() -> float:
    """Width of new figures in inches: that of the style in force."""
    from matplotlib import rcParams

    return float(rcParams["figure.figsize"][0])


def font_size(scale: str = "medium") -> float:
    """Size of text in points; ``scale`` is a relative size of matplotlib, such as ``small``."""
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=scale).get_size_in_points())


def save(figure: Figure, path: Path, *, formats: Iterable[FigureFormat] = ()) -> Path:
    """Save a figure as PNG and in other formats; its layout is fixed afterwards.

    Text is never parsed as mathematics. Characters that the default font lacks come from other
    installed fonts; characters in no font are drawn as boxes, without a warning.

    Args:
        figure: The figure.
        path: Path of the files without suffix.
        formats: Formats besides PNG.

    Returns:
        The path of the PNG file.
    """
    from matplotlib import rc_context, rcParams
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    others = further_families(frozenset("".join(text.get_text() for text in texts)), findfont(FontProperties()))
    families = [*rcParams["font.family"], *others]
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(families)
    settings: dict[Any, Any] = {"text.parse_math": False, "font.family": families}
    if others:
        settings["pdf.fonttype"] = 3  # type 42 cannot embed every font
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ \(.*\) missing from font", UserWarning)
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # otherwise savefig draws once more for the layout
        for file_format in dict.fromkeys(("png", *formats)):
            picture = BytesIO()
            figure.savefig(picture, format=file_format, metadata=WITHOUT_DATE[file_format])
            write_bytes(path.with_name(f"{path.name}.{file_format}"), picture.getvalue())
    return path.with_name(f"{path.name}.png")


def labels_of(names: Sequence[str]) -> list[str]:
    """Shorten long names in the middle, to a third of the figure at most; they remain distinct."""
    most = max(8, int(figure_width() / 3 / inches("x", "small")))
    short = {name: _cut(name, most) for name in names}
    counts, seen = Counter(short.values()), Counter[str]()
    for name, label in short.items():
        if counts[label] > 1:
            seen[label] += 1
            short[name] = f"{_cut(name, most - 4)} #{seen[label]}"
    return [short[name] for name in names]


def wrapped(text: str, width: float, scale: str = "medium") -> list[str]:
    """Lines of a text that are at most ``width`` inches wide."""
    return wrap(text, max(8, int(width / inches("x", scale))))


def inches(text: str, scale: str = "medium") -> float:
    """Approximate width of a text; characters of East Asian scripts are twice as wide."""
    columns = sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
    return columns * _COLUMN * font_size(scale) / 72


def room_for(labels: Sequence[str]) -> float:
    """Inches that the longest label needs."""
    return max((inches(label, "small") for label in labels), default=0.0) + 0.1


def in_legend(label: str) -> str:
    """Protect a legend label: matplotlib hides labels that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label


def legend_below(figure: Figure, panels: Iterable[Axes]) -> None:
    """Add one legend for all panels below them; the figure grows by its height."""
    handles = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    widest = max(map(room_for, ([label] for label in handles))) + 0.45  # the line and the space around it
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + rows * 1.6 * font_size("small") / 72 + 0.1)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def name_ticks(axes: Axes, labels: Sequence[str], length: float) -> None:
    """Label the horizontal axis with names, in a smaller font if they are many.

    Args:
        axes: The axes.
        labels: A label for each of the positions 0, 1, ...
        length: Length of the axis in inches.
    """
    size = 72 * 0.8 * length / max(1, len(labels))
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=max(3.0, min(font_size("small"), size)))


def colours(n: int) -> list[str]:
    """Colour-blind safe colours (Okabe & Ito), repeated after eight."""
    return [_PALETTE[i % len(_PALETTE)] for i in range(n)]


def _cut(name: str, most: int) -> str:
    wide = inches(name) / inches("x") / max(1, len(name))
    return shortened(name, int(most / wide)) if name else name
