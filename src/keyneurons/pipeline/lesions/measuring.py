"""Measures the words of a lesion study: all planned conditions, then control sets as needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from keyneurons.activations.alignment import Encoded
from keyneurons.analysis.sequential import Stopping
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.rows import positions_read
from keyneurons.lesion.surprisal import Readout, Surprisal
from keyneurons.pipeline.lesions.plan import Plan
from keyneurons.pipeline.lesions.words import MeasuredWords
from keyneurons.progress import Progress, stage

ROUND = 5  # control sets drawn at a time in a sequential test

Further = Mapping[str, tuple[Float[ndarray, " _sets"], ...]]
"""By family and tag, the mean change of the tag's own words under each further control set."""


@dataclass(frozen=True)
class Measurement:
    """Bits and other readouts of every word, intact and under every condition of the plan.

    ``further`` are the changes under the further control sets that were needed.
    """

    values: Mapping[str, Float[ndarray, "passes words"]]
    further: Further


@dataclass
class Steps:
    """Counts conditions in the progress of a stage; a pass takes a fraction of one."""

    progress: Progress
    done: float = 0.0

    def __call__(self, done: float) -> None:
        """Count a fraction."""
        self.done += done
        self.progress.done = round(self.done)


@dataclass(frozen=True)
class Measuring:
    """Measures words of encoded sentences under the conditions of a plan."""

    plan: Plan
    surprisal: Surprisal
    encoded: Sequence[Encoded]
    measured: MeasuredWords
    readouts: Mapping[str, Readout]

    def __call__(self) -> Measurement:
        """Measure the planned conditions, then further control sets tag by tag.

        The progress counts conditions on all sentences; one that is measured on the words of one
        tag counts as the share of the sentences' tokens that it needs. The total, which counts all
        further sets, falls where a sequential test ends early.
        """
        n_planned, n_further = 1 + len(self.plan.conditions), self.plan.study.further_sets
        shares = [self._share(tag) for tag in range(len(self.plan.names))]
        total = n_planned + n_further * len(self.plan.further) * sum(shares)
        with stage("lesions", total=round(total), unit="conditions") as progress:
            steps = Steps(progress)
            values = self._planned(steps)
            further = {family: [np.zeros(0) for _ in shares] for family in self.plan.further}
            if (stopping := self.plan.study.stopping) is not None:
                for tag, share in enumerate(shares):
                    of_tag = self._further(tag, values["bits"], stopping, _scaled(steps, share))
                    for family, changes in of_tag.items():
                        further[family][tag] = changes
                        total -= (n_further - len(changes)) * share
                    progress.total = round(total)
        return Measurement(values, {family: tuple(changes) for family, changes in further.items()})

    def _planned(self, on_progress: Callable[[float], object]) -> dict[str, Float[ndarray, "passes words"]]:
        """Bits and other readouts of every word under every planned condition, intact first.

        Words of no tag under study are measured under the lesions of whole sets only.
        """
        studied, n_first = self.measured.studied, 1 + len(self.plan.key_lesions)
        conditions = [Condition({}, {}), *self.plan.conditions]
        values = np.full((1 + len(self.readouts), len(conditions), len(studied)), math.nan)
        parts = [(np.ones_like(studied), slice(n_first)), (studied, slice(n_first, None))]
        if studied.all():
            parts = [(studied, slice(None))]
        for words, some in parts:
            readouts = [_of_words(readout, words) for readout in self.readouts.values()]
            text = self.surprisal.text(self.encoded, self.measured.of(words), conditions, readouts)
            where = None
            if self.plan.study.where == "predicted":
                where = np.concatenate([[-2], self.plan.tag])[some, None] == self.measured.tags[words][None]
            of_part = text(conditions[some], readouts, where=where, on_progress=on_progress)
            numbers = np.arange(len(conditions))[some]
            values[np.ix_(np.arange(len(of_part)), numbers, np.flatnonzero(words))] = of_part
        return dict(zip(["bits", *self.readouts], values, strict=True))

    def _further(
        self,
        tag: int,
        bits: Float[ndarray, "passes words"],
        stopping: Stopping,
        on_progress: Callable[[float], object],
    ) -> dict[str, Float[ndarray, " sets"]]:
        """Changes of the words of a tag under further control sets, until each test is over."""
        own = self.measured.tags == tag
        of_words = self.plan.study.where == "predicted"
        key = self.plan.key_lesions[tag]
        means = (bits[1:, own] - bits[0, own]).mean(axis=1)
        text, found = None, {}
        for family, conditions in self.plan.further.items():
            changes = self.plan.of_family(means, family)[:, tag]
            n_first = len(changes)
            while not stopping.is_over(float(means[tag]), changes):
                text = text or self.surprisal.text(self.encoded, self.measured.of(own), [key])
                some = conditions[tag][len(changes) - n_first :][:ROUND]
                where = np.ones((len(some), int(own.sum())), dtype=bool) if of_words else None
                lesioned = text(some, where=where, on_progress=on_progress)[0]
                changes = np.concatenate([changes, (lesioned - bits[0, own]).mean(axis=1)])
            found[family] = changes[n_first:]
        return found

    def _share(self, tag: int) -> float:
        """Tokens computed for the words of a tag, as a share of those for all tags under study."""
        tokens = [
            positions_read(self.measured.of(words), len(self.encoded), ends=False).sum()
            for words in (self.measured.tags == tag, self.measured.studied)
        ]
        return float(tokens[0] / tokens[1])


def _scaled(update: Callable[[float], object], share: float) -> Callable[[float], object]:
    return lambda done: update(done * share)


def _of_words(readout: Readout, words: Bool[ndarray, " all"]) -> Readout:
    """A readout for some words, whose indices are among these."""
    numbers: Int[ndarray, " some"] = np.flatnonzero(words)
    return replace(readout, read=lambda hidden, here: readout.read(hidden, numbers[here]))
