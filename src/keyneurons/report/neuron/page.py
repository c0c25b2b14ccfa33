"""The page on one or several neurons: from what was found to what the template shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from keyneurons.pipeline.neuron_profile import FULL_COLOUR, DevText, NeuronOnDev
from keyneurons.report.neuron.coloured_text import LEVELS, Piece, Reading, pieces
from keyneurons.report.neuron.method_scores import ScoredBy
from keyneurons.report.neuron.neuron_chart import chart
from keyneurons.report.pages import render

CONTEXT = 40


@dataclass(frozen=True)
class KeyOf:
    """A tag that a neuron is a key neuron of, and its place among them; ``vanishes``: not given the confounds."""

    tag: str
    rank: int
    of: int
    score: float
    p_value: float | None
    p_adjusted: float | None
    vanishes: bool | None


@dataclass(frozen=True)
class InspectedNeuron:
    """A neuron, the tags that it is a key neuron of, and its scores by every method."""

    on_dev: NeuronOnDev
    key_of: tuple[KeyOf, ...]
    scores: tuple[ScoredBy, ...]


@dataclass(frozen=True)
class Inspection:
    """Everything on the page.

    ``facts`` head it; ``reading`` says what a colour means; ``asked`` is the tag asked for, or None; ``coloured`` says
    which dev words have a colour; ``store`` where the scores of other runs were looked for.
    """

    run: str
    facts: Mapping[str, str]
    reading: str
    asked: str | None
    site: str
    text: DevText
    coloured: Bool[ndarray, " all_words"]
    sampled: tuple[int, ...]
    neurons_per_layer: int
    neurons: tuple[InspectedNeuron, ...]
    store: str


def page(inspection: Inspection) -> str:
    """The page as HTML."""
    text = inspection.text
    view = _Text(text, inspection.coloured)
    names = [neuron_name(inspection.site, n.on_dev) for n in inspection.neurons]
    title = names[0] if inspection.asked is None else f"{inspection.asked}: {len(names)} key neurons"
    sections = [_section(n, inspection, view) for n in inspection.neurons]
    return render(
        "inspect.html",
        title=title,
        run=inspection.run,
        facts=inspection.facts,
        reading=inspection.reading,
        asked=inspection.asked,
        store=inspection.store,
        sections=sections,
        levels=range(-LEVELS, LEVELS + 1),
        full_colour=f"{FULL_COLOUR:.0%}",
        n_neurons=inspection.neurons_per_layer,
    )


def neuron_name(site: str, neuron: NeuronOnDev) -> str:
    """Site, layer and number, as they are given on the command line."""
    return f"{site}.{neuron.layer}.{neuron.neuron}"


class _Text:
    """The dev sentences with where their words stand."""

    def __init__(self, text: DevText, coloured: Bool[ndarray, " all_words"]) -> None:
        self.text, self.coloured = text, coloured
        lengths = [len(sentence.words) for sentence in text.sentences]
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        rows = zip(text.words.rows.tolist(), text.words.tags.tolist(), strict=True)
        self.tag = {row: text.names[tag] for row, tag in rows}
        self.sentence = text.sentence_numbers()

    def pieces(self, number: int, found: NeuronOnDev, marked: str | None) -> list[Piece]:
        """A sentence in the colours of a neuron."""
        readings = [
            Reading(self.tag.get(row), float(found.values[row]) if self.coloured[row] else None)
            for row in range(self.starts[number], self.starts[number + 1])
        ]
        sentence = self.text.sentences[number]
        return list(pieces(sentence, readings, centre=found.centre, reach=found.reach, marked=marked))

    def in_context(self, position: int, found: NeuronOnDev) -> dict[str, object]:
        """A word that counts, between what stands left and right of it."""
        row, number = int(self.text.words.rows[position]), int(self.sentence[position])
        sentence = self.text.sentences[number]
        word = sentence.words[row - self.starts[number]]
        before, after = sentence.text[: word.start], sentence.text[word.end :]
        return {
            "before": before if len(before) <= CONTEXT else f"…{before[-CONTEXT:]}",
            "word": sentence.text[word.start : word.end],
            "after": after if len(after) <= CONTEXT else f"{after[:CONTEXT]}…",
            "tag": self.tag[row],
            "value": number_told(found.values[row]),
        }


def _section(neuron: InspectedNeuron, inspection: Inspection, view: _Text) -> dict[str, object]:
    """What the template shows of one neuron."""
    found, text = neuron.on_dev, inspection.text
    counts = np.bincount(text.words.tags, minlength=len(text.names))
    key = [place.tag for place in neuron.key_of]
    tags = key or list(text.names)
    marked = inspection.asked or (key[0] if key else None)
    return {
        "name": neuron_name(inspection.site, found),
        "id": f"neuron-{found.layer}-{found.neuron}",
        "key_of": neuron.key_of,
        "told": [_told(found, text, tag) for tag in key],
        "marked": marked,
        "strongest": [view.pieces(i, found, marked) for i in found.sentences],
        "sampled": [view.pieces(i, found, marked) for i in inspection.sampled],
        "scale": [number_told(v) for v in (found.centre - found.reach, found.centre, found.centre + found.reach)],
        "extremes": [number_told(found.lowest), number_told(found.highest)],
        "constant": found.reach == 0,
        "types": [("Highest", found.top_types), ("Lowest", found.bottom_types)],
        "words": [
            (side, [view.in_context(i, found) for i in places])
            for side, places in (("Highest", found.top_words), ("Lowest", found.bottom_words))
        ],
        "chart": chart(found, text.names, counts.tolist(), key),
        "numbers": _numbers(found, text, counts),
        "n_controls": found.separation.n_controls,
        "n_runs": sum(len(each.runs) for each in neuron.scores),
        "score_tags": tags,
        "scores": [(each, [each.tags.get(tag) for tag in tags]) for each in neuron.scores],
    }


def _told(found: NeuronOnDev, text: DevText, tag: str) -> dict[str, object]:
    """How well a neuron tells a tag from the rest, beside other neurons."""
    s, i = found.separation, text.names.index(tag)
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


def _numbers(found: NeuronOnDev, text: DevText, counts: Int[ndarray, " tags"]) -> list[dict[str, object]]:
    """The numbers of the chart."""
    return [
        {
            **_told(found, text, tag),
            "n": int(counts[i]),
            "quantiles": [number_told(value) for value in found.quantiles[i]],
        }
        for i, tag in enumerate(text.names)
    ]


def number_told(value: float) -> str:
    """A number in four digits."""
    return f"{float(value) + 0.0:.4g}"
