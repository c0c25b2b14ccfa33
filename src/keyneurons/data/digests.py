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


def treebank_digests(treebank: Treebank) -> TreebankDigests:
    """The digests of a treebank; names and ids are ignored."""
    whole, splits = sha256(b"["), {}
    for i, split in enumerate(SPLITS):
        text = json.dumps(list(map(_facts, treebank.splits[split])), sort_keys=True)
        splits[split] = sha256(text.encode()).hexdigest()
        whole.update(f"{', ' if i else ''}{text}".encode())
    whole.update(b"]")
    return TreebankDigests(whole.hexdigest(), splits)


def _facts(sentence: Sentence) -> list[object]:
    words = [(word.form, word.start, word.end, word.upos, word.xpos, dict(word.feats)) for word in sentence.words]
    return [sentence.text, words]
