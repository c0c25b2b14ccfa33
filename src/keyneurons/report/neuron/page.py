"""The HTML page on one or several neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from keyneurons.pipeline.neuron_profile import FULL_COLOUR, DevText, NeuronOnDev
from keyneurons.records import NeuronSets
from keyneurons.report.neuron.coloured_text import LEVELS, Piece, WordActivation, pieces
from keyneurons.report.neuron.method_scores import ScoredBy
from keyneurons.report.neuron.neuron_chart import chart
from keyneurons.report.pages import render
from keyneurons.report.phrases import CONTROLLED_FOR, counted

CONTEXT = 40


@dataclass(frozen=True)
class KeyOf:
    """A tag that a neuron is a key neuron of, with its rank.

    ``partial`` is what is left of its ``correlation`` with the tag when confounds are controlled
    for; ``vanishes`` tells whether that is too little.
    """

    tag: str
    rank: int
    of: int
    score: float
    p_value: float | None
    p_adjusted: float | None
    correlation: float | None
    partial: float | None
    vanishes: bool | None


@dataclass(frozen=True)
class InspectedNeuron:
    """A neuron, the tags that it is a key neuron of, and its scores by every method."""

    on_dev: NeuronOnDev
    key_of: tuple[KeyOf, ...]
    scores: tuple[ScoredBy, ...]


@dataclass(frozen=True)
class Inspection:
    """The content of the page.

    ``facts`` form its header. ``reading`` explains what an activation is. ``tag`` is the requested
    tag, or None. ``coloured`` masks the dev words with a colour. ``store`` is the source of the
    scores of other runs.
    """

    run: str
    facts: Mapping[str, str]
    reading: str
    tag: str | None
    sets: NeuronSets
    text: DevText
    coloured: Bool[ndarray, " all_words"]
    sampled: tuple[int, ...]
    neurons: tuple[InspectedNeuron, ...]
    store: str


def page(inspection: Inspection) -> str:
    """Render the page as HTML."""
    text = inspection.text
    view = _Text(text, inspection.coloured)
    names = [inspection.sets.name(n.on_dev.layer, n.on_dev.neuron) for n in inspection.neurons]
    title = names[0] if inspection.tag is None else f"{inspection.tag}: {counted(len(names), 'key neuron')}"
    sections = [_section(n, inspection, view) for n in inspection.neurons]
    return render(
        "inspect.html",
        title=title,
        run=inspection.run,
        facts=inspection.facts,
        reading=inspection.reading,
        tag=inspection.tag,
        store=inspection.store,
        sections=sections,
        levels=range(-LEVELS, LEVELS + 1),
        full_colour=f"{FULL_COLOUR:.0%}",
        controlled_for=CONTROLLED_FOR,
        n_neurons=inspection.sets.neurons_per_layer,
    )


class _Text:
    """The dev sentences with the positions of their words."""

    def __init__(self, text: DevText, coloured: Bool[ndarray, " all_words"]) -> None:
        self.text, self.coloured = text, coloured
        lengths = [len(sentence.words) for sentence in text.sentences]
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        rows = zip(text.words.rows.tolist(), text.words.tags.tolist(), strict=True)
        self.tag = {row: text.names[tag] for row, tag in rows}
        self.sentence = text.sentence_numbers()

    def pieces(self, number: int, profile: NeuronOnDev, marked: str | None) -> list[Piece]:
        """A sentence coloured by the activations of a neuron."""
        words = [
            WordActivation(self.tag.get(row), float(profile.values[row]) if self.coloured[row] else None)
            for row in range(self.starts[number], self.starts[number + 1])
        ]
        sentence = self.text.sentences[number]
        return list(pieces(sentence, words, centre=profile.centre, reach=profile.reach, marked=marked))

    def in_context(self, position: int, profile: NeuronOnDev) -> dict[str, object]:
        """A labelled word with its left and right context."""
        row, number = int(self.text.words.rows[position]), int(self.sentence[position])
        sentence = self.text.sentences[number]
        word = sentence.words[row - self.starts[number]]
        before, after = sentence.text[: word.start], sentence.text[word.end :]
        return {
            "before": before if len(before) <= CONTEXT else f"…{before[-CONTEXT:]}",
            "word": sentence.text[word.start : word.end],
            "after": after if len(after) <= CONTEXT else f"{after[:CONTEXT]}…",
            "tag": self.tag[row],
            "value": format_number(profile.values[row]),
        }


def _section(neuron: InspectedNeuron, inspection: Inspection, view: _Text) -> dict[str, object]:
    """Variables of the template for one neuron."""
    profile, text = neuron.on_dev, inspection.text
    counts = np.bincount(text.words.tags, minlength=len(text.names))
    key = [place.tag for place in neuron.key_of]
    tags = key or list(text.names)
    marked = inspection.tag or (key[0] if key else None)
    return {
        "name": inspection.sets.name(profile.layer, profile.neuron),
        "id": f"neuron-{profile.layer}-{profile.neuron}",
        "key_of": neuron.key_of,
        "separations": [_separation(profile, text, tag) for tag in key],
        "marked": marked,
        "strongest": [view.pieces(i, profile, marked) for i in profile.sentences],
        "sampled": [view.pieces(i, profile, marked) for i in inspection.sampled],
        "scale": [
            format_number(v) for v in (profile.centre - profile.reach, profile.centre, profile.centre + profile.reach)
        ],
        "extremes": [format_number(profile.lowest), format_number(profile.highest)],
        "constant": profile.reach == 0,
        "types": [("Highest", profile.top_types), ("Lowest", profile.bottom_types)],
        "words": [
            (side, [view.in_context(i, profile) for i in places])
            for side, places in (("Highest", profile.top_words), ("Lowest", profile.bottom_words))
        ],
        "chart": chart(profile, text.names, counts.tolist(), key),
        "numbers": _numbers(profile, text, counts),
        "n_controls": profile.separation.n_controls,
        "n_runs": sum(len(each.runs) for each in neuron.scores),
        "score_tags": tags,
        "scores": [(each, [each.tags.get(tag) for tag in tags]) for each in neuron.scores],
    }


def _separation(profile: NeuronOnDev, text: DevText, tag: str) -> dict[str, object]:
    """How well a neuron separates a tag from all other words, compared with other neurons."""
    s, i = profile.separation, text.names.index(tag)
    return {
        "tag": tag,
        "auroc": f"{s.auroc[i]:.3f}",
        "higher": bool(s.auroc[i] >= 0.5),
        "either_way": f"{s.either_way[i]:.3f}",
        "median": f"{s.control_median[i]:.3f}",
        "low": f"{s.control_low[i]:.3f}",
        "high": f"{s.control_high[i]:.3f}",
        "as_good": round(float(s.share_as_good[i]) * s.n_controls),
        "beats": bool(s.either_way[i] > s.control_high[i]),
    }


def _numbers(profile: NeuronOnDev, text: DevText, counts: Int[ndarray, " tags"]) -> list[dict[str, object]]:
    """The values of the chart as a table."""
    return [
        {
            **_separation(profile, text, tag),
            "n": int(counts[i]),
            "quantiles": [format_number(value) for value in profile.quantiles[i]],
        }
        for i, tag in enumerate(text.names)
    ]


def format_number(value: float) -> str:
    """Format a number with four significant digits."""
    return f"{float(value) + 0.0:.4g}"
