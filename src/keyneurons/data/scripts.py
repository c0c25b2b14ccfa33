"""The script of a word, from the Unicode names of its letters."""

from __future__ import annotations

import unicodedata

MIXED = "mixed"
_NAMES = {"Cjk": "Han"}


def script_of(form: str) -> str | None:
    """The script that a word is written in.

    The script of a letter is the first word of its Unicode name, such as Latin or Arabic; that of
    CJK ideographs is Han. Compatibility forms count as what they stand for (full-width Latin as
    Latin). Modifier letters, such as the length mark of katakana, belong to several scripts and do
    not count, nor do digits, punctuation and combining marks.

    Returns:
        The script, ``mixed`` for letters of several scripts, None for a word without letters.
    """
    letters = [c for c in unicodedata.normalize("NFKC", form) if unicodedata.category(c) in {"Lu", "Ll", "Lt", "Lo"}]
    scripts = {unicodedata.name(c, "unknown").split()[0].capitalize() for c in letters}
    return MIXED if len(scripts) > 1 else next((_NAMES.get(script, script) for script in scripts), None)
