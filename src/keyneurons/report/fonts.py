"""Fonts for characters that the default font lacks."""

from __future__ import annotations

from functools import cache


@cache
def further_families(characters: frozenset[str], default: str) -> tuple[str, ...]:
    """Installed fonts for the characters that a font lacks, without matplotlib's math fonts.

    Each is the font that has most of the remaining characters; regular fonts come first.

    Args:
        characters: The characters to draw.
        default: Path of the default font.

    Returns:
        Names of font families; characters in no font remain without one.
    """
    from matplotlib import get_data_path
    from matplotlib.font_manager import fontManager

    missing = characters - _characters(default)
    fonts = [font for font in fontManager.ttflist if not font.fname.startswith(get_data_path())] if missing else []
    fonts.sort(key=lambda font: (font.weight != 400, font.style != "normal", font.name))
    families: list[str] = []
    while missing and fonts:
        best = max(fonts, key=lambda font: len(missing & _characters(font.fname)))
        if not (covered := missing & _characters(best.fname)):
            break
        families.append(best.name)
        missing -= covered
    return tuple(families)


@cache
def _characters(font: str) -> frozenset[str]:
    """The characters of a font; empty if its file is missing or damaged."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(font).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
