"""Neurons that mark the script of a word, on the pooled words of several languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from keyneurons.arrays import read_array
from keyneurons.data.columns import column_of
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.key_neurons import Selection, find_key_neurons
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.pipeline.transfer import LanguageText
from keyneurons.records import LabelledWords, Labels, NeuronSets

MIN_WORDS = 20
SCRIPT = "script"


def script_neurons(texts: Sequence[LanguageText], selection: Selection) -> NeuronSets | None:
    """Select key neurons of every script, as a run selects those of tags.

    Scripts with fewer than 20 of the labelled train words are left out.

    Args:
        texts: The languages, of the same model, site and layers, with stored activations.
        selection: How key neurons are selected.

    Returns:
        The neurons by script; None if all words are of one script.
    """
    stored = [text.activations.stored() for text in texts]
    scripts = np.concatenate([_scripts(text) for text in texts])
    counts = Counter(each for each in scripts.tolist() if each is not None)
    names = tuple(sorted(name for name, n in counts.items() if n >= MIN_WORDS))
    if len(names) < 2:
        return None
    kept = np.isin(scripts, names)
    of_text = np.repeat(np.arange(len(texts)), [len(text.labels.splits["train"].rows) for text in texts])
    rows = [text.labels.splits["train"].rows[kept[of_text == i]] for i, text in enumerate(texts)]
    layers = stored[0].arrays["train"]
    values = {
        layer: np.concatenate([
            read_array(own.arrays["train"][layer], at) for own, at in zip(stored, rows, strict=True)
        ])
        for layer in layers
    }
    tags = np.searchsorted(names, scripts[kept].astype(str))
    words = LabelledWords(np.arange(len(tags)), tags, tuple(scripts[kept]))
    pooled = StoredActivations({"train": values}, stored[0].site, stored[0].device)
    return find_key_neurons(
        selection, ScoredWords(pooled, Labels(SCRIPT, names, {"train": words}), _sentences(texts, rows))
    ).sets


def _scripts(text: LanguageText) -> Shaped[ndarray, " words"]:
    """The script of every labelled train word; None for a word without letters."""
    of_script = column_of(SCRIPT)
    every = [script for sentence in text.treebank.splits["train"] for script in of_script(sentence)]
    scripts: ndarray = np.array(every, dtype=object)[text.labels.splits["train"].rows]
    return scripts


def _sentences(texts: Sequence[LanguageText], rows: Sequence[Int[ndarray, " _words"]]) -> Int[ndarray, " words"]:
    """The sentence of every word, numbered through all languages."""
    numbers, first = [], 0
    for text, at in zip(texts, rows, strict=True):
        sentences = text.treebank.splits["train"]
        numbers.append(first + sentence_of_rows(sentences, at))
        first += len(sentences)
    return np.concatenate(numbers)
