"""Tables of a run come back as they were written: names stay text, numbers stay numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyneurons.artifacts.frames import read_frame
from keyneurons.artifacts.tables import write_matrix, write_table

ODD = ["NA", "nan", "NaN", "null", "None", "", "1", "01", "1e5", "-0", "inf", "True", " x ", "#", '"', ",", "é", "名"]
TAGS = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(
    rows=st.lists(
        st.tuples(TAGS, st.integers(1, 99), NUMBERS, st.one_of(st.just(""), NUMBERS), st.booleans()), min_size=1
    )
)
def test_a_table_comes_back(tmp_path: Path, rows: list[tuple]) -> None:
    head = ["tag", "rank", "score", "p_value", "vanishes"]
    write_table(tmp_path / "x.csv", head, rows)
    frame = read_frame(tmp_path / "x.csv")
    assert list(frame.columns) == head
    assert frame["tag"].tolist() == [row[0] for row in rows]
    assert all(isinstance(tag, str) for tag in frame["tag"])
    assert frame["rank"].tolist() == [row[1] for row in rows]
    assert frame["rank"].dtype.kind == "i"
    assert frame["score"].tolist() == [row[2] for row in rows]
    for read, row in zip(frame["p_value"], rows, strict=True):
        assert math.isnan(read) if row[3] == "" else read == row[3]
    assert frame["vanishes"].tolist() == [row[4] for row in rows]


@quick
@given(names=st.lists(TAGS, min_size=1, max_size=6, unique=True), whole=st.booleans())
def test_a_matrix_comes_back(tmp_path: Path, names: list[str], whole: bool) -> None:
    matrix = np.arange(len(names) ** 2).reshape(len(names), -1) * (1 if whole else 0.37)
    write_matrix(tmp_path / "x.csv", names, matrix)
    frame = read_frame(tmp_path / "x.csv")
    assert (list(frame.index), list(frame.columns)) == (names, names)
    assert np.array_equal(frame.to_numpy(), matrix)


@pytest.mark.parametrize("text", ["", "a,a\n1,2\n", "a,b\n1\n", 'a\n"1\n', "a\n\xff"])
def test_what_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text, "latin-1")
    with pytest.raises(ValueError, match=r"x\.csv is not a table: "):
        read_frame(tmp_path / "x.csv")


def test_a_column_of_words_that_are_no_names_is_text(tmp_path: Path) -> None:
    write_table(tmp_path / "x.csv", ["layer", "note"], [[1, "NA"], [2, "1"]])
    frame = read_frame(tmp_path / "x.csv")
    assert frame["note"].tolist() == ["NA", "1"]
    assert frame["layer"].tolist() == [1, 2]
