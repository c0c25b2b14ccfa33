"""Prompts: packaged sets and files."""

from __future__ import annotations

import pytest

from keyneurons.data.prompts import PACKAGED, read_prompts


def test_packaged_sets_are_of_equal_size_and_disjoint() -> None:
    sets = [read_prompts(name) for name in PACKAGED]
    assert {len(prompts) for prompts in sets} == {16}
    assert len(set().union(*sets)) == 48


def test_prompts_are_the_lines_of_a_file(tmp_path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("The dog\n\n  She ")
    assert read_prompts(path) == ("The dog", "She")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n  \n", " has no prompts: all lines are blank"),
        (b"The dog\n\xff", ":2: not UTF-8"),
        (b"The dog\n", " has one prompt"),
        (b"The dog\nShe\nThe dog\n", " has the prompt 'The dog' twice"),
    ],
    ids=["blank", "binary", "one", "twice"],
)
def test_bad_files(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}{message}"):
        read_prompts(path)


def test_a_missing_file() -> None:
    with pytest.raises(ValueError, match=r"no such file; prompts are one of default, formal, informal, or a file"):
        read_prompts("casual")
