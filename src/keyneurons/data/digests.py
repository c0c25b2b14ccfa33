"""The digest of a treebank, recorded with each run to identify its tagged text."""

from __future__ import annotations

from keyneurons.digests import json_digest
from keyneurons.records import SPLITS, Sentence, Treebank


def treebank_digest(treebank: Treebank, *, syntax: bool = False) -> str:
    """SHA-256 of the texts, word spans, forms and tags of all splits; names and ids are ignored.

    With ``syntax``, heads and relations count too: the labels of a run may come from them.
    """
    return json_digest([[_facts(sentence, syntax) for sentence in treebank.splits[split]] for split in SPLITS])


def _facts(sentence: Sentence, syntax: bool) -> list[object]:
    words = [(word.form, word.start, word.end, word.upos, word.xpos, dict(word.feats)) for word in sentence.words]
    tree = [(word.number, word.head, word.deprel) for word in sentence.words]
    return [sentence.text, words, tree] if syntax else [sentence.text, words]
