"""Digests of a treebank, recorded with each run to identify its tagged text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from keyneurons.records import SPLITS, Sentence, Split, Treebank


@dataclass(frozen=True)
class TreebankDigests:
    """SHA-256 of the texts, word spans, forms and tags of all splits, and of each split."""

    whole: str
    splits: Mapping[Split, str]


def treebank_digests(treebank: Treebank, *, syntax: bool = False) -> TreebankDigests:
    """The digests of a treebank; names and ids are ignored.

    With ``syntax``, heads and relations count too: the labels of a run may come from them.
    """
    whole, splits = sha256(b"["), {}
    for i, split in enumerate(SPLITS):
        text = json.dumps([_facts(sentence, syntax) for sentence in treebank.splits[split]], sort_keys=True)
        splits[split] = sha256(text.encode()).hexdigest()
        whole.update(f"{', ' if i else ''}{text}".encode())
    whole.update(b"]")
    return TreebankDigests(whole.hexdigest(), splits)


def _facts(sentence: Sentence, syntax: bool) -> list[object]:
    words = [(word.form, word.start, word.end, word.upos, word.xpos, dict(word.feats)) for word in sentence.words]
    tree = [(word.number, word.head, word.deprel) for word in sentence.words]
    return [sentence.text, words, tree] if syntax else [sentence.text, words]
