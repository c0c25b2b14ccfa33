"""Tags the words of raw text with the probe of a finished run: its MLflow model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.basis import BASIS_FILE
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.neuron_sets import read_neuron_sets
from keyneurons.artifacts.plain import read_yaml
from keyneurons.artifacts.probe import PROBE_FILE, ReadProbe, read_probe
from keyneurons.build.reader import build_reader
from keyneurons.config.validation import validate_plain
from keyneurons.data.word_splitting import split_words
from keyneurons.records import Sentence, Word
from keyneurons.runs.reload import with_components_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Tagged:
    """The words of a text, their most probable tags, and the probabilities of these."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Tagger:
    """The probe on the key neurons of a run, and the reader of their activations."""

    read: ActivationReader
    probe: ReadProbe

    def __call__(self, sentences: Sequence[Sentence]) -> list[Tagged]:
        """Tag the words of some sentences.

        With ``read_at=prediction`` the first word of a sentence is excluded, as in the run.

        Raises:
            ValueError: a word has no token, or a sentence is too long for the model.
        """
        if self.read.read_at == "prediction":
            sentences = [replace(sentence, words=sentence.words[1:]) for sentence in sentences]
        ends = np.cumsum([len(sentence.words) for sentence in sentences])
        logits = self.probe.probe(self._activations([sentence for sentence in sentences if sentence.words]))
        best = logits.softmax(dim=1).max(dim=1)
        tags = [self.probe.tags[i] for i in best.indices.tolist()]
        probabilities = best.values.tolist()
        return [
            Tagged(
                tuple(word.form for word in sentence.words),
                tuple(tags[end - len(sentence.words) : end]),
                tuple(probabilities[end - len(sentence.words) : end]),
            )
            for sentence, end in zip(sentences, ends.tolist(), strict=True)
        ]

    def predict(self, model_input: DataFrame, params: Any = None) -> DataFrame:
        """Tag texts: the interface of MLflow.

        Args:
            model_input: a text in each row of the column ``text``, or its words in the column
                ``words``, which are joined by spaces.
            params: unused.

        Returns:
            One row for each text, with the lists ``words``, ``tags`` and ``probabilities``.

        Raises:
            ValueError: a row has neither text nor words.
        """
        from pandas import DataFrame

        tagged = self(list(_sentences(model_input.to_dict("records"))))
        rows = [(list(each.words), list(each.tags), list(each.probabilities)) for each in tagged]
        return DataFrame(rows, columns=["words", "tags", "probabilities"])

    def _activations(self, sentences: Sequence[Sentence]) -> Float[Tensor, "words features"]:
        """The activations of the probe's neurons on the words of sentences."""
        layer, neuron = np.array(self.probe.neurons).T
        values = torch.empty(sum(len(sentence.words) for sentence in sentences), len(neuron))
        for rows, by_site in self.read.stream(sentences, "text") if sentences else ():
            for number, own in by_site[self.read.site].items():
                here = np.flatnonzero(layer == number)
                some = own.index_select(1, torch.from_numpy(neuron[here]).to(own.device))
                values[torch.from_numpy(rows)[:, None], torch.from_numpy(here)] = some.float().cpu()
        return values


def joined_words(words: Sequence[str], name: str = "text") -> Sentence:
    """Given words as a text with spaces between them.

    Raises:
        ValueError: a word is empty or has spaces around it.
    """
    placed, start = [], 0
    for word in words:
        if not word or word != word.strip():
            raise ValueError(f"{name}: a word must be text without spaces around it, got {word!r}")
        placed.append(Word(word, start, start + len(word), None, None))
        start += len(word) + 1
    return Sentence(name, " ".join(words), tuple(placed))


def load_tagger(folder: Path) -> Tagger:
    """The probe of a run with its language model, which must be the one of the run.

    Args:
        folder: a folder with ``config.yaml``, ``key_neurons.json`` and ``probe.safetensors``.

    Raises:
        ValueError: a file is damaged, or the language model is another one.
        FileNotFoundError: the language model is missing.
    """
    path = folder / "config.yaml"
    try:
        config = validate_plain(read_yaml(path))
    except ValueError as error:
        raise ValueError(f"{path} does not fit this version: {error}") from error
    read = build_reader(with_components_of(config, lambda: folder / BASIS_FILE))
    read_neuron_sets(folder / KEY_NEURONS_FILE, read, config.dataset.tag_column)  # raises for another model
    probe = read_probe(folder / PROBE_FILE, read.site)
    return Tagger(replace(read, layers=tuple(sorted({layer for layer, _ in probe.neurons}))), probe)


def _sentences(rows: Sequence[dict[Any, Any]]) -> Iterator[Sentence]:
    for i, row in enumerate(rows):
        text, words = row.get("text"), row.get("words")
        if words is not None and not isinstance(words, float):  # pandas marks a missing cell by NaN
            yield joined_words(list(words), f"row {i}")
        elif isinstance(text, str):
            yield split_words(text, f"row {i}")
        else:
            raise ValueError(f"row {i} needs a text in the column text, or a list in the column words")


def _load_pyfunc(path: str) -> Tagger:
    """Load the model: the function that MLflow calls."""
    return load_tagger(Path(path))
