"""Tables survive a round trip, whatever the names look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pandas import DataFrame

from keyneurons.api import RunResult
from keyneurons.artifacts.tables import read_matrix, write_matrix
from keyneurons.config.schema import Config
from keyneurons.records import NeuronSets

TRAPS = [
    "NA",
    "null",
    "None",
    "nan",
    "1",
    "01",
    "1e3",
    "-",
    "",
    " ",
    "true",
    "a,b",
    '"',
    "'",
    "a\nb",
    "a\r\nb",
    "a\rb",
    "=1+1",
    "#",
]
NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(TRAPS), max_size=5)
FLOATS = st.floats(width=64) | st.integers(-3, 3).map(float)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(names=NAMES, data=st.data(), whole=st.booleans())
def test_a_matrix_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject, whole: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "matrix.csv"
    shape = (len(names), len(names))
    matrix = data.draw(
        arrays(np.int64, shape, elements=INTEGERS) if whole else arrays(np.float64, shape, elements=FLOATS)
    )
    write_matrix(path, names, matrix)
    found, back = read_matrix(path)
    assert found == tuple(names)
    assert back.shape == matrix.shape
    assert back.dtype == matrix.dtype or not names
    assert np.array_equal(back, matrix, equal_nan=not whole)
    assert np.array_equal(np.signbit(back) & ~np.isnan(back), np.signbit(matrix) & ~np.isnan(matrix))


def test_the_overlap_of_a_run_has_its_tags_as_labels(tmp_path: Path) -> None:
    counts = np.arange(len(TRAPS) ** 2).reshape(len(TRAPS), -1)
    write_matrix(tmp_path / "overlap_count.csv", TRAPS, counts)
    run = RunResult(None, tmp_path, Config.model_construct(), {}, NeuronSets("mlp", (0,), 1, {}))
    found = run.overlap()
    assert isinstance(found, DataFrame)
    assert (list(found.index), list(found.columns)) == (TRAPS, TRAPS)
    assert np.array_equal(found.to_numpy(), counts)
    assert found.to_numpy().dtype == np.int64


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "tag,a,b\na,1,2\n", "tag,a\nb,1\n", "tag,a\na,x\n", 'tag,a\n"a,1\n', ",a\na,1\n"]
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "matrix.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"matrix\.csv is not a matrix"):
        read_matrix(path)
