"""Style, width and formats of figures; mistakes in a stylesheet are one line."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from keyneurons.choices import FigureFormat
from keyneurons.report.drawing import new_figure
from keyneurons.report.figure_style import WIDTHS, FigureOptions, read_style, styled


def saved(folder: Path, options: FigureOptions) -> None:
    with styled(options) as save:
        figure = new_figure(2.0, "A title")
        figure.add_subplot().plot([1, 2], [2, 1])
        save(figure, folder / "a")


def style(folder: Path, text: str) -> Path:
    path = folder / "own.mplstyle"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("formats", [(), ("svg",), ("png", "pdf"), ("svg", "pdf", "svg")])
def test_png_is_always_written(tmp_path: Path, formats: tuple[FigureFormat, ...]) -> None:
    saved(tmp_path, FigureOptions(formats))
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", *(f".{each}" for each in formats)}


@pytest.mark.parametrize("columns", WIDTHS)
def test_all_formats_have_the_same_width(tmp_path: Path, columns: str) -> None:
    width = WIDTHS[columns]  # type: ignore[index]
    saved(tmp_path, FigureOptions(("svg", "pdf"), None, width))
    assert Image.open(tmp_path / "a.png").width == int(width * 200)
    [box] = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ", (tmp_path / "a.pdf").read_bytes())
    assert float(box) == pytest.approx(72 * width, abs=1)
    [points] = re.findall(r'<svg [^>]*width="([\d.]+)pt"', (tmp_path / "a.svg").read_text("utf-8"))
    assert float(points) == pytest.approx(72 * width, abs=1)


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name, FigureOptions(("svg", "pdf")))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_a_stylesheet_applies_but_to_width_and_latex(tmp_path: Path) -> None:
    text = "font.size: 11\nlines.linewidth: 3.5\nfigure.figsize: 3, 3\ntext.usetex: True\nsavefig.bbox: tight\n"
    before = {key: mpl.rcParams[key] for key in ("font.size", "lines.linewidth", "figure.figsize")}
    with styled(FigureOptions(style=style(tmp_path, text + "backend: svg"))):
        figure = new_figure(2.0)
        [line] = figure.add_subplot().plot([1, 2])
        assert (line.get_linewidth(), mpl.rcParams["font.size"]) == (3.5, 11)
        assert figure.get_figwidth() == WIDTHS["two"]
        assert not mpl.rcParams["text.usetex"]
        assert mpl.rcParams["savefig.bbox"] is None
    assert {key: mpl.rcParams[key] for key in before} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no.such.key: 1", "Bad key no.such.key"),
        ("font.size: large", "Could not convert 'large' to float"),
        ("font.size 9", "Missing colon"),
        ("font.size: 8\nfont.size: 9", "Duplicate key"),
    ],
)
def test_mistakes_in_a_stylesheet_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = style(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"report.style: {path} is not a ")) as caught:
        read_style(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_no_stylesheets(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory"), (tmp_path / "binary", "")):
        with pytest.raises(ValueError, match=f"is not a readable stylesheet of matplotlib: .*{reason}"):
            read_style(path)


def test_a_font_that_is_not_installed_is_not_reported_on_the_console(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, FigureOptions(style=style(tmp_path, "font.family: No Such Font")))
    assert capfd.readouterr() == ("", "")
