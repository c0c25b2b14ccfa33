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

from keyneurons.report import drawing
from keyneurons.report.run.figures import figure_by_layer, figure_of_matrices

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
        drawing.save(figure_of_matrices({"one": matrix}, names), path)
        drawing.save(figure_by_layer((10 * matrix).astype(int), names, range(len(names)), "title"), path)
    return path.read_bytes()


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(names=NAMES)
def test_any_tag_can_be_drawn(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    assert drawn(names, tmp_path_factory.getbasetemp() / "any.png")


def test_no_text_is_read_as_mathematics(tmp_path: Path) -> None:
    assert drawn(ODD, tmp_path / "odd.png")
    assert drawn(["$a$", "b"], tmp_path / "one.png") != drawn(["a", "b"], tmp_path / "other.png")
    figure = figure_of_matrices({"$x^2$": np.eye(2)}, ["$^$", "b"])
    drawing.save(figure, tmp_path / "title.png")
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_every_figure_comes_into_its_file_in_this_way() -> None:
    package = Path(drawing.__file__).parents[1]
    assert [path.name for path in package.rglob("*.py") if "savefig(" in path.read_text("utf-8")] == ["drawing.py"]


def test_other_warnings_are_still_heard(tmp_path: Path) -> None:
    figure = drawing.new_figure(0.3, 0.3)  # too small for the axes
    figure.add_subplot().set_ylabel("a label that is far too long")
    with pytest.warns(UserWarning, match="constrained_layout not applied"):
        drawing.save(figure, tmp_path / "small.png")


def test_a_legend_shows_labels_that_begin_with_an_underscore() -> None:
    axes = drawing.new_figure(3.0, 3.0).add_subplot()
    for label in ("_x", "y"):
        axes.plot([1, 2], [2, 1], label=drawing.in_legend(label))
    assert [text.get_text().strip() for text in axes.legend().get_texts()] == ["_x", "y"]


def test_long_labels_are_shortened_only_where_they_can_be_told_apart() -> None:
    one, other, apart = "a" * 60, "a" * 30 + "b" + "a" * 29, "b" + "a" * 59
    assert drawing.labels_of(["x", one, apart])[0] == "x"
    assert max(map(len, drawing.labels_of(["x", one, apart]))) == 40
    assert drawing.labels_of([one, other]) == [one, other]


def test_characters_that_the_default_font_lacks_come_from_a_font_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    entry = font_manager.FontEntry
    fonts = [entry(fname=f"/fonts/{name}", name=name) for name in ("Latin", "Kanji", "Emoji")]
    of_fonts = {"Latin": "ab", "Kanji": "名詞a", "Emoji": "🙂"}
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    monkeypatch.setattr(drawing, "_characters", lambda font: frozenset(of_fonts.get(Path(font).name, "abc")))
    drawing._other_families.cache_clear()
    try:
        assert drawing._other_families(frozenset("ab")) == ()
        assert drawing._other_families(frozenset("a名")) == ("Kanji",)
        assert drawing._other_families(frozenset("名🙂☃")) == ("Emoji", "Kanji")
    finally:
        drawing._other_families.cache_clear()


def test_a_full_disk_names_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device; [\d,]+ bytes are needed: '.*a\.png'"):
        drawing.save(drawing.new_figure(1.0, 1.0), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
