"""The command ``treebanks``: lists the treebanks of Universal Dependencies."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from keyneurons.data.treebank_table import RELEASE, SIZES_OF, UDTreebank, ud_treebanks
from keyneurons.report.run.console import show_wide
from keyneurons.terminal import terminal


def show_treebanks(language: str | None) -> None:
    """Print the treebanks of a language, or all.

    Args:
        language: Name or code of the language, in any case; None for all.

    Raises:
        ValueError: There is no treebank of the language.
    """
    shown = [each for each in ud_treebanks().values() if language is None or _is_of(each, language)]
    if not shown:
        codes = sorted({each.language_code for each in ud_treebanks().values()})
        raise ValueError(f"there is no treebank of {language!r}; the languages are {', '.join(codes)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("treebank", "language", "code", "script", "sentences", "words", "licence"):
        table.add_column(name, justify="right" if name in {"sentences", "words"} else "left", no_wrap=True)
    for each in shown:
        numbers = ["-" if number is None else f"{number:,}" for number in (each.sentences, each.words)]
        scripts = " ".join(each.scripts)
        table.add_row(*map(Text, [each.name, each.language, each.code, scripts, *numbers, each.licence or "-"]))
    console = terminal()
    show_wide(table, console)
    note = f"{len(shown)} treebanks of release {RELEASE}; sizes and licences of release {SIZES_OF} (-: unknown)"
    console.print(Text(note), soft_wrap=True)


def _is_of(treebank: UDTreebank, language: str) -> bool:
    return language.lower() in (treebank.language.lower(), treebank.language_code)
