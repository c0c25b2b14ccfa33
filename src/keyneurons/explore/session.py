"""What the page asks: reading, lesions and neurons of loaded runs, one question at a time."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.explore.lesions import INTACT, Change, IntactText, Predicted, compute_intact, continued, predict
from keyneurons.explore.loading import LoadedRun
from keyneurons.explore.neurons import Profiled, neurons_by_name, other_tags
from keyneurons.explore.reading import ReadText, column_of, read_text, values_of
from keyneurons.explore.typed_text import TypedText, read_typed
from keyneurons.pipeline.neuron_profile import NeuronOnDev, neuron_on_dev

MOST_NEW_TOKENS = 20
TOP = 10
KEPT_TEXTS, KEPT_PROFILES = 8, 1000


@dataclass(frozen=True)
class Reading:
    """A read text, and the activation of one neuron at its words with its profile on dev."""

    text: ReadText
    values: tuple[float | None, ...]
    neuron: Profiled


@dataclass(frozen=True)
class Effect:
    """Predictions of a text by name of the condition, the intact model first.

    ``top`` are the ids and ``tokens`` the texts of its ten most probable next tokens.
    """

    typed: TypedText
    predicted: Mapping[str, Predicted]
    top: Int[ndarray, " top"]
    tokens: tuple[str, ...]


class Session:
    """Answers questions about loaded runs of one model; ``runs`` has them by id.

    The model is hooked while it runs, so questions from several threads are answered in turn.
    """

    def __init__(self, runs: Sequence[LoadedRun]) -> None:
        self.runs = {run.id: run for run in runs}
        self._lock = threading.RLock()
        self._profile = functools.lru_cache(KEPT_PROFILES)(self._compute_profile)
        self._read = functools.lru_cache(KEPT_TEXTS)(self._compute_read)
        self._intact = functools.lru_cache(KEPT_TEXTS)(self._compute_intact)

    def read(self, run: str, text: str, tag: str, neuron: str) -> Reading:
        """Read a text, with the activations of one key neuron of a tag.

        Raises:
            ValueError: a value is not legal, or the text has no readable word.
        """
        with self._lock:
            [profiled] = self.neurons(run, tag, [neuron])
            read, column = self._read(run, text), column_of(self.run(run), profiled.key.layer, profiled.key.neuron)
            return Reading(read, tuple(values_of(read, column)), profiled)

    def lesion(self, run: str, text: str, change: Change) -> Effect:
        """Predictions with and without a lesion, and with the same lesion of random neurons.

        Raises:
            ValueError: a value is not legal, the text has no readable word, or the model does not
                predict the next token.
        """
        with self._lock:
            loaded = self._predicting(run, change.tag)
            intact = self._intact(run, text)
            conditions = change.conditions(loaded)
            predicted = dict(zip(conditions, predict(loaded, intact, list(conditions.values())), strict=True))
            top = np.argsort(-predicted[INTACT].next, kind="stable")[:TOP]
            tokens = tuple(str(loaded.read.model.tokenizer.decode([token])) for token in top.tolist())
            return Effect(intact.typed, predicted, top, tokens)

    def continuations(self, run: str, text: str, change: Change, n_tokens: int) -> dict[str, str]:
        """Greedy continuations of the last line by name of the condition.

        Raises:
            ValueError: a value is not legal, the text has no readable word, or the model does not
                predict the next token.
        """
        if not 1 <= n_tokens <= MOST_NEW_TOKENS:
            raise ValueError(f"The number of tokens must lie in 1..{MOST_NEW_TOKENS}, got {n_tokens}.")
        with self._lock:
            loaded = self._predicting(run, change.tag)
            intact = self._intact(run, text)
            conditions = change.conditions(loaded)
            texts = continued(loaded, intact, list(conditions.values()), n_tokens)
            return dict(zip(conditions, texts, strict=True))

    def neurons(self, run: str, tag: str, names: Sequence[str] | None = None) -> tuple[Profiled, ...]:
        """The key neurons of a tag with their profiles, all or those named.

        Raises:
            ValueError: the run has no such key neurons.
        """
        with self._lock:
            loaded = self.run(run)
            own = neurons_by_name(loaded, tag)
            if unknown := [name for name in names or () if name not in own]:
                raise ValueError(f"The key neurons of {tag} are {', '.join(own)}; got {unknown[0][:80]!r}.")
            ranks = {name: rank for rank, name in enumerate(own, start=1)}
            return tuple(
                Profiled(
                    ranks[name],
                    own[name],
                    name,
                    self._profile(run, own[name].layer, own[name].neuron),
                    other_tags(loaded, own[name], tag),
                )
                for name in (own if names is None else names)
            )

    def run(self, run: str) -> LoadedRun:
        """The run with an id.

        Raises:
            ValueError: there is none.
        """
        if run not in self.runs:
            raise ValueError(f"The page has the runs {', '.join(self.runs)}; got {run[:80]!r}.")
        return self.runs[run]

    def _compute_profile(self, run: str, layer: int, neuron: int) -> NeuronOnDev:
        loaded = self.runs[run]
        return neuron_on_dev(loaded.dev, loaded.activations[layer], layer, neuron, loaded.seed)

    def _compute_read(self, run: str, text: str) -> ReadText:
        loaded = self.runs[run]
        return read_text(loaded, self._typed(loaded, text))

    def _compute_intact(self, run: str, text: str) -> IntactText:
        loaded = self.runs[run]
        return compute_intact(loaded, self._typed(loaded, text))

    def _predicting(self, run: str, tag: str) -> LoadedRun:
        """The run, if its model predicts the next token and the tag has key neurons.

        Raises:
            ValueError: the model does not predict it, or the tag has no key neurons.
        """
        loaded = self.run(run)
        neurons_by_name(loaded, tag)
        model = loaded.read.model
        if not model.family.causal or model.family.norm is None:
            raise ValueError(f"{model.files.id} does not predict the next token, so its lesions are not shown.")
        return loaded

    def _typed(self, run: LoadedRun, text: str) -> TypedText:
        limit = getattr(run.read.model.config, "max_position_embeddings", None) or 10**9
        return read_typed(text, run.read.model, limit - 2 - MOST_NEW_TOKENS)
