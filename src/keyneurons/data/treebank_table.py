"""The treebanks of a release of Universal Dependencies: names, codes, scripts, licences, sizes.

The table is made by ``tools/ud_treebanks.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources

RELEASE = "2.16"
"""The release whose names the table has."""

SIZES_OF = "2.14"
"""The release whose sizes and licences the table has."""


@dataclass(frozen=True)
class UDTreebank:
    """One treebank.

    ``code`` is the first part of its file names, such as ``en_ewt``; ``scripts`` are codes of ISO
    15924. ``licence`` and the numbers of sentences and words are those of an earlier release, or
    None if unknown.
    """

    name: str
    language: str
    code: str
    scripts: tuple[str, ...]
    licence: str | None
    sentences: int | None
    words: int | None

    @property
    def language_code(self) -> str:
        """The code of the language, such as ``en``."""
        return self.code.partition("_")[0]


def ud_treebanks() -> Mapping[str, UDTreebank]:
    """All treebanks of the release by name."""
    rows = json.loads((resources.files("keyneurons.data") / "treebanks.json").read_text("utf-8"))["treebanks"]
    return {row["name"]: UDTreebank(**{**row, "scripts": tuple(row["scripts"])}) for row in rows}


def check_treebank(name: str) -> str:
    """The name of a treebank, if there is one.

    Raises:
        ValueError: If there is none of that name.
    """
    known = ud_treebanks()
    if name not in known:
        by_lower = {each.lower(): each for each in known}
        close = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
        suggestion = f"; did you mean {' or '.join(by_lower[each] for each in close)}?" if close else ""
        raise ValueError(f"should be a treebank such as UD_French-GSD (keyneurons treebanks lists them){suggestion}")
    return name
