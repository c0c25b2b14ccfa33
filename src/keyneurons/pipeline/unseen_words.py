"""Selection and probing with test words whose types the train split lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from keyneurons.data.unseen_words import keep_types_apart
from keyneurons.pipeline.evidence import Evidence
from keyneurons.records import Labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnseenWords:
    """The split by word types: at most a ``share`` of each tag's types occurs in test only.

    Tags with fewer than ``min_words`` words left in train are excluded.
    """

    share: float
    min_words: int


@dataclass(frozen=True)
class OnUnseenWords:
    """Labels split by word types, and probes on key neurons selected without the test types."""

    labels: Labels
    evidence: Evidence

    def metrics(self) -> dict[str, float]:
        """Metrics of the probe and its controls, and the numbers of words and tags."""
        values = self.evidence.metrics()
        values["data/tags"] = float(len(self.labels.names))
        values["data/test_words"] = float(len(self.labels.splits["test"].rows))
        return {f"unseen_words/{name}": value for name, value in values.items()}


def labels_apart(unseen: UnseenWords, labels: Labels, seed: int) -> Labels:
    """The labels without the train words of the types that are held out for test."""
    return keep_types_apart(labels, unseen.share, unseen.min_words, seed)


def measure_unseen_words(
    unseen: UnseenWords, labels: Labels, evidence_of: Callable[[Labels], Evidence], seed: int
) -> OnUnseenWords:
    """Select key neurons without some word types, and test them on words of these types.

    Args:
        unseen: The split by word types.
        labels: The labelled words.
        evidence_of: Selects key neurons on the train words of some labels and probes them.
        seed: Seed of the choice of types.

    Returns:
        The labels and the results of the probes.
    """
    apart = labels_apart(unseen, labels, seed)
    log.info("%d test words of unseen types", len(apart.splits["test"].rows))
    return OnUnseenWords(apart, evidence_of(apart))
