"""Text that a model generates under lesions of key neurons, with the measures of steering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyneurons.activations.reader import ActivationReader
from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.analysis.steering import Beside, beside_sets
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation
from keyneurons.pipeline.lesions.plan import Plan
from keyneurons.pipeline.steering.measures import INTACT, SHARE, measures_of
from keyneurons.pipeline.steering.taggers import by_lexicon
from keyneurons.pipeline.steering.texts import generate


@dataclass(frozen=True)
class Generated:
    """Generated texts and their measures: intact, under each tag's lesion, under control sets.

    ``intact`` and the values of ``lesioned`` and ``controls`` (the first control set) are
    continuations, one per prompt. ``intact_measures`` and ``measures`` are by tag and name, as in
    ``pipeline.steering.measures``; the control sets are those of the first family that all tags
    have.
    """

    prompts: tuple[str, ...]
    intact: tuple[str, ...]
    lesioned: Mapping[str, tuple[str, ...]]
    controls: Mapping[str, tuple[str, ...]]
    intact_measures: Mapping[str, Mapping[str, Estimate]]
    measures: Mapping[str, Mapping[str, Beside]]

    def metrics(self, prefix: str, family: str) -> dict[str, float]:
        """The measures by tag: intact, under its lesion, under its control sets, with a p-value."""
        values = {}
        for tag, measures in self.measures.items():
            values[f"lesion/intact/generated_{SHARE}/{tag}"] = self.intact_measures[tag][SHARE].value
            for name, beside in measures.items():
                values[f"{prefix}/generated_{name}/{tag}"] = beside.key.value
                values[f"{prefix}/{family}/generated_{name}/{tag}"] = beside.sets.value
                values[f"{prefix}/{family}/generated_{name}_p_value/{tag}"] = beside.p_value
        return values


def generate_under_lesions(
    read: ActivationReader, generation: Generation, plan: Plan, lexicon: Mapping[str, str], seed: int
) -> Generated:
    """Continue prompts with the intact model, under each tag's lesion, and under its control sets.

    Args:
        read: Reader of the model's activations.
        generation: The prompts and the settings of generation.
        plan: The lesions of the key neurons and of the control sets of the first family.
        lexicon: The most frequent tag of each lower-cased word.
        seed: Seed of the bootstrap.

    Returns:
        The texts and their measures.
    """
    n, sets = len(plan.names), plan.study.sets
    texts = generate(read, generation, [Condition({}, {}), *plan.key_lesions, *plan.control_lesions])
    taggers, options = {SHARE: by_lexicon(lexicon)}, {"draws": plan.study.bootstraps, "seed": seed}
    rows = {tag: [1 + i, *range(1 + n + i * sets, 1 + n + (i + 1) * sets)] for i, tag in enumerate(plan.names)}

    def intact(tag: str) -> dict[str, Estimate]:
        sums = measures_of(texts, [INTACT], tag, taggers)
        return {name: each.estimates(**options)[0] for name, each in sums.items()}

    def beside(tag: str, own: Sequence[int]) -> dict[str, Beside]:
        return {name: beside_sets(each, **options) for name, each in measures_of(texts, own, tag, taggers).items()}

    return Generated(
        generation.prompts,
        texts.texts[INTACT],
        {tag: texts.texts[own[0]] for tag, own in rows.items()},
        {tag: texts.texts[own[1]] for tag, own in rows.items()},
        {tag: intact(tag) for tag in rows},
        {tag: beside(tag, own) for tag, own in rows.items()},
    )
