"""Figures show text literally, without warnings on stderr."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from keyneurons.report import drawing, fonts
from keyneurons.report.figure_style import FigureOptions, styled
from keyneurons.report.heatmaps import Scale, by_layer, heatmaps

ODD = [
    "$^$",
    "$$",
    "a$\\q$",
    "WP$",
    "_hidden",
    "名詞-普通名詞-一般",
    "🙂",
    "<b>",
    "&amp;",
    "%d",
    "{x}",
    "\\frac",
    "é" * 186,
]
NAMES = st.lists(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60), min_size=2, max_size=3, unique=True
)


def drawn(names: list[str], path: Path) -> bytes:
    """A figure with the names on both axes, drawn with warnings as errors."""
    matrix = np.linspace(0, 1, len(names) ** 2).reshape(len(names), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing.save(heatmaps({"one": matrix}, names, "title", Scale("share")), path)
        drawing.save(by_layer((10 * matrix).astype(int), names, range(len(names)), "title", "neurons"), path)
    return path.with_suffix(".png").read_bytes()


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(names=NAMES)
def test_any_tag_can_be_drawn(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    assert drawn(names, tmp_path_factory.getbasetemp() / "any")


def test_no_text_is_read_as_mathematics(tmp_path: Path) -> None:
    assert drawn(ODD, tmp_path / "odd")
    assert drawn(["$a$", "b"], tmp_path / "one") != drawn(["a", "b"], tmp_path / "other")
    figure = heatmaps({"$x^2$": np.eye(2)}, ["$^$", "b"], "$y$", Scale("share"))
    drawing.save(figure, tmp_path / "title")
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_every_figure_comes_into_its_file_in_this_way() -> None:
    package = Path(drawing.__file__).parents[1]
    assert [path.name for path in package.rglob("*.py") if "savefig(" in path.read_text("utf-8")] == ["drawing.py"]


def test_other_warnings_are_still_heard(tmp_path: Path) -> None:
    figure = drawing.new_figure(0.1)  # too small for the axes
    figure.add_subplot().set_xlabel("a label")
    with pytest.warns(UserWarning, match="constrained_layout not applied"):
        drawing.save(figure, tmp_path / "small")


def test_a_legend_shows_labels_that_begin_with_an_underscore() -> None:
    axes = drawing.new_figure(3.0).add_subplot()
    for label in ("_x", "y"):
        axes.plot([1, 2], [2, 1], label=drawing.in_legend(label))
    assert [text.get_text().strip() for text in axes.legend().get_texts()] == ["_x", "y"]


def test_long_labels_are_shortened_and_remain_distinct() -> None:
    one, other, apart = "a" * 60, "a" * 30 + "b" + "a" * 29, "b" + "a" * 59
    for width in (2.0, 3.03, 6.3):
        with styled(FigureOptions(width=width)):
            labels = drawing.labels_of(["x", one, other, apart, "名" * 60, one])
            assert labels[0] == "x"
            assert labels[1] == labels[5]
            assert len(set(labels)) == 5
            assert all(drawing.inches(label, "small") <= width / 3 + 1e-9 for label in labels)


def test_characters_that_the_default_font_lacks_come_from_a_font_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    entry = font_manager.FontEntry
    installed = [entry(fname=f"/fonts/{name}", name=name) for name in ("Latin", "Kanji", "Emoji")]
    of_fonts = {"Latin": "ab", "Kanji": "名詞a", "Emoji": "🙂"}
    monkeypatch.setattr(font_manager.fontManager, "ttflist", installed)
    monkeypatch.setattr(fonts, "_characters", lambda font: frozenset(of_fonts.get(Path(font).name, "abc")))
    fonts.further_families.cache_clear()
    try:
        assert fonts.further_families(frozenset("ab"), "default") == ()
        assert fonts.further_families(frozenset("a名"), "default") == ("Kanji",)
        assert fonts.further_families(frozenset("名🙂☃"), "default") == ("Emoji", "Kanji")
        assert fonts.further_families(frozenset("名詞🙂"), "default") == ("Kanji", "Emoji")
    finally:
        fonts.further_families.cache_clear()


def test_a_full_disk_names_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device; [\d,]+ bytes are needed: '.*a\.png'"):
        drawing.save(drawing.new_figure(1.0), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
