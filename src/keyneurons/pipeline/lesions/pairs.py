"""Accuracy on minimal pairs under lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.pairs import pair_margins
from keyneurons.lesion.surprisal import Surprisal
from keyneurons.pipeline.lesions.measuring import Steps
from keyneurons.pipeline.lesions.plan import Plan
from keyneurons.progress import stage


@dataclass(frozen=True)
class Pairs:
    """Accuracy on minimal pairs: intact, under each tag's lesion, and under control sets.

    ``intact`` is by phenomenon. ``controls`` are means over the control sets of the first family.
    ``margins`` are the mean bits by which the ungrammatical sentence is more surprising, for
    ``intact`` and each tag's lesion.
    """

    intact: Mapping[str, float]
    accuracy: Mapping[str, float]
    lesioned: Mapping[str, Mapping[str, float]]
    controls: Mapping[str, float]
    margins: Mapping[str, float]

    def metrics(self, prefix: str, family: str) -> dict[str, float]:
        """Accuracies: intact, under each tag's lesion, and under its sets of a family."""
        values = {"lesion/intact/pair_accuracy": self.accuracy["intact"]}
        for tag, control in self.controls.items():
            values[f"{prefix}/pair_accuracy/{tag}"] = self.accuracy[tag]
            values[f"{prefix}/{family}/pair_accuracy/{tag}"] = control
        return values


def judge_pairs(plan: Plan, surprisal: Surprisal, read: ActivationReader) -> Pairs:
    """Judge the minimal pairs: intact, under each lesion, under the first family of controls."""
    pairs, names = plan.study.pairs, plan.names
    conditions = [Condition({}, {}), *plan.key_lesions, *plan.control_lesions]
    with stage("minimal pairs", total=len(conditions), unit="conditions") as progress:
        margins = pair_margins(surprisal, read, pairs, conditions, Steps(progress))
    correct, phenomena = margins > 0, np.array([pair.phenomenon for pair in pairs])

    def by_phenomenon(row: Bool[ndarray, " pairs"]) -> dict[str, float]:
        return {str(name): float(row[phenomena == name].mean()) for name in np.unique(phenomena)}

    own = {name: correct[1 + i] for i, name in enumerate(names)}
    of_controls = correct[1 + len(names) :].mean(axis=1).reshape(len(names), -1).mean(axis=1)
    return Pairs(
        by_phenomenon(correct[0]),
        {"intact": float(correct[0].mean()), **{name: float(row.mean()) for name, row in own.items()}},
        {name: by_phenomenon(row) for name, row in own.items()},
        dict(zip(names, of_controls.tolist(), strict=True)),
        {name: float(row.mean()) for name, row in zip(["intact", *names], margins, strict=False)},
    )
