"""The same measurement on test words of types that the train split lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from keyneurons.data.unseen_words import keep_types_apart
from keyneurons.pipeline.activations import Activations
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.key_neurons import KeyNeurons
from keyneurons.pipeline.probing import Probing, probe_key_neurons
from keyneurons.records import Labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnseenWords:
    """How word types are kept apart: ``share`` of those of each tag go to test alone, if ``min_words`` are left."""

    share: float
    min_words: int


@dataclass(frozen=True)
class OnUnseenWords:
    """The labels whose types are kept apart, and what key neurons selected without them are worth there."""

    labels: Labels
    evidence: Evidence

    def metrics(self) -> dict[str, float]:
        """Those of the probe and its controls, and how many words and tags they stand on."""
        found = self.evidence.metrics()
        found["data/tags"] = float(len(self.labels.names))
        found["data/test_words"] = float(len(self.labels.splits["test"].rows))
        return {f"unseen_words/{name}": value for name, value in found.items()}


def measure_unseen_words(
    unseen: UnseenWords,
    labels: Labels,
    activations: Activations,
    select: Callable[[Labels], KeyNeurons],
    probing: Probing,
    seed: int,
) -> OnUnseenWords:
    """Select key neurons without some word types, and test them on those.

    Args:
        unseen: how the types are kept apart.
        labels: the labelled words.
        activations: those of the treebank.
        select: finds key neurons on the train words of some labels.
        probing: how probes are trained, and beside which controls.
        seed: of all draws.

    Returns:
        What was measured.
    """
    apart = keep_types_apart(labels, unseen.share, unseen.min_words, seed)
    log.info("words of unseen types: %d in test", len(apart.splits["test"].rows))
    sets = select(apart).sets
    return OnUnseenWords(apart, probe_key_neurons(probing, Case(apart, activations, sets, seed)))
