"""Which tags a model writes while the key neurons of one are changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Generation, continuations
from keyneurons.records import LabelledWords


@dataclass(frozen=True)
class Generated:
    """Texts and shares of tags, intact, under each tag's lesion, and under one matched random set of each.

    ``intact`` and the values of ``lesioned`` and ``controls`` are continuations, one a prompt. ``shares`` are of the
    tag among the written words that train knows, by the most frequent tag there: intact, lesioned, control.
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
    keys: Sequence[Condition],
    controls: Sequence[Condition],
    lexicon: Mapping[str, str],
) -> Generated:
    """Continue prompts as the model is, under each tag's lesion, and under a control of each.

    Args:
        read: reads the model's activations.
        generation: the prompts, and how they are continued.
        names: the tags.
        keys: the lesion of each.
        controls: a control of each.
        lexicon: the usual tag of a word in lower case.

    Returns:
        The texts and the shares of the tags in them.
    """
    conditions = [Condition({}, {}), *keys, *controls]
    total = len(conditions) * len(generation.prompts)
    with tqdm(desc="generating", total=total, unit=" texts", leave=False, disable=None) as bar:
        texts = [continuations(read.model, read.site, read.bos_id(), c, generation, bar.update) for c in conditions]
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
    """The most frequent tag of every form, ties to the first of ``names``."""
    counts: dict[str, np.ndarray] = {}
    for form, tag in zip(words.forms, words.tags.tolist(), strict=True):
        counts.setdefault(form, np.zeros(len(names), dtype=np.int64))[tag] += 1
    return {form: names[int(count.argmax())] for form, count in counts.items()}


def _share(texts: Sequence[str], name: str, lexicon: Mapping[str, str]) -> float:
    known = [lexicon[word] for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()) if word in lexicon]
    return known.count(name) / len(known) if known else 0.0
