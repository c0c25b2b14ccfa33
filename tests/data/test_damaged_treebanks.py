"""Each of 200 treebanks with one change is rejected with file and line, or read unchanged."""

from __future__ import annotations

import random
import re

import pytest

from keyneurons.data.conllu import read_conllu

ODD = ["", "_", " ", "\u00a0", "\u3000", "\u200b", "N ", " N", "N N", "0", "-1", "1", "2-1", "1-2", "1.1", "1e1"]
ODD += ["Case=Nom|Case=Acc", "Case", "=x", "Case=", "a=b|", "|", "\ufeff", "\r", "é", "\u00ad", "NaN", "null", "$^$"]
ODD += ["\x00"]

WHOLE = """# sent_id = s1
# text = She can't go.
1\tShe\tshe\tPRON\tPRP\tCase=Nom|Number=Sing\t4\tnsubj\t_\t_
2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_
2\tca\tcan\tAUX\tMD\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tgo\tgo\tVERB\tVB\tVerbForm=Inf\t0\troot\t_\tSpaceAfter=No
5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# sent_id = s2
# text = Dogs run
1\tDogs\tdog\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t_\t_
1.1\tthat\tthat\tPRON\t_\t_\t_\t_\t_\t_
2\trun\trun\tVERB\tVBP\t_\t0\troot\t_\tSpaceAfter=No

"""


def change(text: str, draw: random.Random) -> str:
    """Change one column, line or character, or cut the end."""
    lines = text.split("\n")
    at = draw.randrange(len(lines))
    columns = lines[at].split("\t")
    kind = draw.choice(["column", "column", "swap", "line", "twice", "character", "cut", "separator"])
    if kind == "column":
        columns[draw.randrange(len(columns))] = draw.choice(ODD)
    elif kind == "swap":
        i, j = draw.randrange(len(columns)), draw.randrange(len(columns))
        columns[i], columns[j] = columns[j], columns[i]
    elif kind == "separator":
        return text.replace("\t", " ", draw.randrange(1, 30)) if draw.random() < 0.5 else text.replace("\n", "\r\n")
    elif kind == "cut":
        return text[: draw.randrange(len(text))]
    elif kind == "character":
        place = draw.randrange(len(text))
        return text[:place] + draw.choice(ODD) + text[place + 1 :]
    lines[at] = "\t".join(columns)
    if kind == "line":
        del lines[at]
    elif kind == "twice":
        lines.insert(at, lines[at])
    return "\n".join(lines)


def rows(text: str) -> list[list[str]]:
    """Read the rows of words independently of the reader under test."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    columns = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return [row for row in columns if re.fullmatch("[0-9]+", row[0])]


def test_200_treebanks(tmp_path):
    draw, path, taken = random.Random(14), tmp_path / "t.conllu", 0
    for _ in range(200):
        text = change(WHOLE, draw)
        path.write_bytes(text.encode("utf-8"))
        told, words = "", []
        try:
            words = [(s, w) for s in read_conllu(path).sentences for w in s.words]
        except ValueError as error:
            told = str(error)
        if told:
            assert re.match(rf"{re.escape(str(path))}:\d+: ", told), (told, text)
            assert "\n" not in told
            continue
        taken += 1
        expected = rows(text.removeprefix("\ufeff"))
        assert [w.form for _, w in words] == [row[1] for row in expected], text
        for (sentence, word), row in zip(words, expected, strict=True):
            assert (word.upos or "_", word.xpos or "_") == tuple(tag or "_" for tag in row[3:5])
            assert {f"{name}={value}" for name, value in word.feats.items()} == set(row[5].split("|")) - {"_", ""}
            assert word.end > word.start
            surface = sentence.text[word.start : word.end]
            assert word.form in surface or surface == "can't", (word, sentence.text)
            assert not any(c.isspace() for tag in (word.upos, word.xpos) if tag for c in tag)
    assert 30 < taken < 150


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe", b"\x00" * 10, WHOLE.encode("utf-16")])
def test_what_is_no_treebank(tmp_path, content):
    path = tmp_path / "t.conllu"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}:\d+: "):
        read_conllu(path)
