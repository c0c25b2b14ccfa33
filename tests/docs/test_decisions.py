"""Every decision record has a date, a status and a row in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
RECORDS = sorted(path.name for path in FOLDER.glob("0*.md"))
LINE = re.compile(r"Date: (\d{4}-\d\d-\d\d)\. Status: (accepted|superseded by (\d{4}))\.")


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_a_date_a_status_and_the_three_sections(name: str) -> None:
    title, _, line, *rest = (FOLDER / name).read_text().splitlines()
    match = LINE.fullmatch(line)
    assert title.startswith("# ")
    assert match, f"{name}: third line is {line!r}"
    assert [text for text in rest if text.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]
    successor = match[3]
    assert successor is None or any(other.startswith(successor) for other in RECORDS)


def test_the_index_repeats_number_title_date_and_status_of_every_record() -> None:
    expected = []
    for name in RECORDS:
        title, _, line, *_ = (FOLDER / name).read_text().splitlines()
        match = LINE.fullmatch(line)
        assert match
        expected.append(f"| [{name[:4]}]({name}) | {title[2:]} | {match[1]} | {match[2]} |")
    index = (FOLDER / "README.md").read_text().splitlines()
    assert [row for row in index if row.startswith("| [")] == expected


def test_numbers_are_consecutive() -> None:
    assert [int(name[:4]) for name in RECORDS] == list(range(1, len(RECORDS) + 1))
