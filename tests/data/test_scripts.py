"""The script of a word: words labelled by hand, and the treebanks whose scripts are known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from keyneurons.data.columns import column_of
from keyneurons.data.conllu import read_conllu
from keyneurons.data.scripts import script_of

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(
    ("form", "script"),
    [
        ("été", "Latin"),
        ("e\N{COMBINING ACUTE ACCENT}te", "Latin"),
        ("ＡＢＣ", "Latin"),
        ("İstanbul'da", "Latin"),
        ("κόσμος", "Greek"),
        ("мир", "Cyrillic"),
        ("كتاب", "Arabic"),
        ("भाषा", "Devanagari"),
        ("한국어", "Hangul"),
        ("東京", "Han"),
        ("人々", "Han"),
        ("する", "Hiragana"),
        ("コンピューター", "Katakana"),
        ("ｶﾒﾗ", "Katakana"),
        ("食べる", "mixed"),
        ("Tシャツ", "mixed"),
        ("2024", None),
        ("。", None),
        ("", None),
    ],
)
def test_the_script_is_that_of_the_letters(form: str, script: str | None) -> None:
    assert script_of(form) == script


@pytest.mark.slow
@pytest.mark.parametrize(
    ("treebank", "file", "scripts", "share"),
    [
        ("ud_english_ewt", "en_ewt-ud-dev", {"Latin"}, 0.999),
        ("ud_turkish_pud", "tr_pud-ud-test", {"Latin"}, 0.999),
        ("ud_arabic_pud", "ar_pud-ud-test", {"Arabic"}, 0.98),
        ("ud_japanese_gsd", "ja_gsd-ud-dev", {"Han", "Hiragana", "Katakana", "mixed"}, 0.98),
    ],
)
def test_a_treebank_is_written_in_its_scripts(treebank: str, file: str, scripts: set[str], share: float) -> None:
    path = DATA / treebank / f"{file}.conllu"
    if not path.is_file():
        pytest.skip(f"no {path}")
    counts = Counter(label for s in read_conllu(path).sentences for label in column_of("script")(s) if label)
    assert sum(counts[script] for script in scripts) >= share * counts.total()
