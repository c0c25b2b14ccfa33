"""The digest of a treebank, by which a run says on which tagged text it stands."""

from __future__ import annotations

from keyneurons.digests import json_digest
from keyneurons.records import SPLITS, Sentence, Treebank


def treebank_digest(treebank: Treebank) -> str:
    """The sha256 over the texts, word spans, forms and tags of all splits; names and ids do not count."""
    return json_digest([[_facts(sentence) for sentence in treebank.splits[split]] for split in SPLITS])


def _facts(sentence: Sentence) -> list[object]:
    words = [(word.form, word.start, word.end, word.upos, word.xpos, dict(word.feats)) for word in sentence.words]
    return [sentence.text, words]
