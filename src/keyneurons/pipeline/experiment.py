"""One experiment: what it needs, what it finds, and the order of its stages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.overlap import mean_off_diagonal, overlap
from keyneurons.data.digests import treebank_digest
from keyneurons.data.labels import label
from keyneurons.data.sources import TreebankSource
from keyneurons.data.splitting import cap, drop_duplicates
from keyneurons.pipeline.evidence import Evidence, gather_evidence
from keyneurons.records import SPLITS, Labels, NeuronSets, Overlap, Scope, Scores, Split, Treebank
from keyneurons.selection.driver import score_layers
from keyneurons.selection.rules import select
from keyneurons.selection.scorer import NeuronScorer

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """A treebank and what is asked of it: tag column, caps, and which tags count."""

    source: TreebankSource
    tag_column: str
    tags: tuple[str, ...] | None
    min_words_per_tag: int
    max_sentences: Mapping[Split, int | None]
    max_words: Mapping[Split, int | None]
    drop_duplicates: bool

    def load(self) -> Treebank:
        """Read the treebank, cap it, then drop from dev and test what stands in an earlier split."""
        treebank = cap(self.source.load(), self.max_sentences, self.max_words)
        return drop_duplicates(treebank) if self.drop_duplicates else treebank

    def label(self, treebank: Treebank, *, first_words: bool) -> Labels:
        """The labelled words of a treebank, with or without the first word of every sentence."""
        return label(treebank, self.tag_column, self.tags, self.min_words_per_tag, first_words=first_words)


@dataclass(frozen=True)
class Experiment:
    """Everything that one run needs.

    ``method`` names the scorer in records; ``memory_bytes`` is what scoring may take at a time; ``trainer`` makes a
    Lightning trainer when the probes are trained.
    """

    dataset: Dataset
    read: ActivationReader
    scorer: NeuronScorer
    method: str
    top_k: int
    scope: Scope
    probe: ProbeSettings
    trainer: Callable[[], Trainer]
    random_sets: int
    own_random_sets: int
    all_neurons: bool
    memory_bytes: int
    seed: int


@dataclass(frozen=True)
class Result:
    """What one run found."""

    experiment: Experiment
    treebank: Treebank
    treebank_digest: str
    labels: Labels
    scores: Scores
    sets: NeuronSets
    overlap: Overlap
    evidence: Evidence
    metrics: Mapping[str, float]


def run_experiment(experiment: Experiment) -> Result:
    """Read, score, select, compare and probe.

    Args:
        experiment: what to do with what.

    Returns:
        All findings.

    Raises:
        ValueError: the data, the activations or the scores do not allow it; the message says why.
    """
    treebank = experiment.dataset.load()
    labels = experiment.dataset.label(treebank, first_words=experiment.read.read_at == "word")
    log.info("%s: %d tags, %d train words", treebank.id, len(labels.names), len(labels.splits["train"].rows))
    arrays = {split: experiment.read(treebank.splits[split], split) for split in SPLITS}
    train = labels.splits["train"]
    scores = score_layers(
        experiment.scorer,
        arrays["train"],
        train.rows,
        train.tags,
        len(labels.names),
        site=experiment.read.site,
        scope=experiment.scope,
        device=str(experiment.read.model.device),
        budget_bytes=experiment.memory_bytes,
    )
    sets = select(scores, labels.names, experiment.top_k, experiment.scope)
    shared = overlap(sets)
    evidence = gather_evidence(
        arrays,
        labels,
        sets,
        settings=experiment.probe,
        trainer=experiment.trainer,
        random_sets=experiment.random_sets,
        own_random_sets=experiment.own_random_sets,
        all_neurons=experiment.all_neurons,
        seed=experiment.seed,
    )
    metrics = {**evidence.metrics, **set_metrics(sets, shared), **data_metrics(treebank, labels)}
    return Result(
        experiment,
        treebank,
        treebank_digest(treebank),
        labels,
        scores,
        sets,
        shared,
        evidence,
        dict(sorted(metrics.items())),
    )


def set_metrics(sets: NeuronSets, shared: Overlap) -> dict[str, float]:
    """How large the union of the key neurons is, and how far the tags share them."""
    size = len(sets.union())
    return {
        "selection/union_size": float(size),
        "selection/union_fraction": size / (len(sets.layers) * sets.neurons_per_layer),
        "overlap/mean_coefficient": mean_off_diagonal(shared.coefficient),
        "overlap/mean_jaccard": mean_off_diagonal(shared.jaccard),
        "overlap/mean_count": mean_off_diagonal(shared.count.astype(float)),
        "overlap/mean_expected_count": mean_off_diagonal(shared.expected),
    }


def data_metrics(treebank: Treebank, labels: Labels) -> dict[str, float]:
    """How much text stands behind the other figures."""
    counts = {f"data/{split}_words": float(len(labels.splits[split].rows)) for split in SPLITS}
    dropped = float(sum(treebank.duplicates_dropped.values()))
    return {**counts, "data/tags": float(len(labels.names)), "data/duplicates_dropped": dropped}
