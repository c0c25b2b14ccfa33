"""Tags of the text that a model generates under lesions of key neurons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, continuations
from keyneurons.progress import stage
from keyneurons.records import LabelledWords


@dataclass(frozen=True)
class Generated:
    """Generated texts and shares of tags: intact, under each lesion, under one control each.

    ``intact`` and the values of ``lesioned`` and ``controls`` are continuations, one per prompt.
    ``shares`` (intact, lesioned, control) are shares of the tag among the generated words known
    from train; the tag of a word is its most frequent tag in train.
    """

    prompts: tuple[str, ...]
    intact: tuple[str, ...]
    lesioned: Mapping[str, tuple[str, ...]]
    controls: Mapping[str, tuple[str, ...]]
    shares: Mapping[str, tuple[float, float, float]]


def generate(
    read: ActivationReader,
    generation: Generation,
    names: Sequence[str],
    key_lesions: Sequence[Condition],
    controls: Sequence[Condition],
    lexicon: Mapping[str, str],
) -> Generated:
    """Continue prompts with the intact model, under each tag's lesion, and under one control each.

    Args:
        read: Reader of the model's activations.
        generation: The prompts and the settings of generation.
        names: The tags.
        key_lesions: The lesion of each tag's key neurons.
        controls: The lesion of one control set for each tag.
        lexicon: The most frequent tag of each lower-cased word.

    Returns:
        The texts and the shares of the tags.
    """
    conditions = [Condition({}, {}), *key_lesions, *controls]
    total = len(conditions) * len(generation.prompts)
    with stage("generated texts", total=total, unit="texts") as progress:
        texts = [
            continuations(read.model, read.site, read.bos_id(), c, generation, progress.advance) for c in conditions
        ]
    lesioned, controlled = texts[1 : 1 + len(names)], texts[1 + len(names) :]
    shares = {
        name: (_share(texts[0], name, lexicon), _share(own, name, lexicon), _share(other, name, lexicon))
        for name, own, other in zip(names, lesioned, controlled, strict=True)
    }
    return Generated(
        generation.prompts,
        texts[0],
        dict(zip(names, lesioned, strict=True)),
        dict(zip(names, controlled, strict=True)),
        shares,
    )


def lexicon_of(words: LabelledWords, names: Sequence[str]) -> dict[str, str]:
    """The most frequent tag of every form; ties go to the first of ``names``."""
    counts: dict[str, np.ndarray] = {}
    for form, tag in zip(words.types, words.tags.tolist(), strict=True):
        counts.setdefault(form, np.zeros(len(names), dtype=np.int64))[tag] += 1
    return {form: names[int(count.argmax())] for form, count in counts.items()}


def _share(texts: Sequence[str], name: str, lexicon: Mapping[str, str]) -> float:
    tags = [lexicon[word] for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()) if word in lexicon]
    return tags.count(name) / len(tags) if tags else 0.0
