"""The answers of a session as escaped HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from keyneurons.explore.lesions import INTACT, KEY, RANDOM, Change
from keyneurons.explore.loading import LoadedRun
from keyneurons.explore.neurons import Profiled
from keyneurons.explore.session import Effect, Reading
from keyneurons.explore.typed_text import RULE, TypedText
from keyneurons.pipeline.neuron_profile import coloured_words
from keyneurons.report.neuron.coloured_text import LEVELS, WordActivation, level_of, pieces
from keyneurons.report.pages import render
from keyneurons.report.phrases import describe_place

SENTENCES, TYPES = 6, 8
FULL_COLOUR_BITS = 5.0
AT = {"last": "at its last token", "first": "at its first token", "mean": "averaged over its tokens"}


@dataclass(frozen=True)
class Cell:
    """A text under a word; ``differs`` emphasises it."""

    text: str
    title: str = ""
    differs: bool = False


@dataclass(frozen=True)
class GlossedWord:
    """A word with its colour level, and one cell per row under it."""

    form: str
    level: int
    title: str
    cells: tuple[Cell, ...]


def notes(texts: Sequence[str]) -> str:
    """Messages to the user."""
    return render("explore_notes.html", notes=texts)


def header(runs: Iterable[LoadedRun]) -> str:
    """What the page shows: the model and the runs."""
    runs = tuple(runs)
    model = runs[0].read.model
    facts = [
        f"{run.name}: {run.method}, {describe_place(run.sets.site, run.sets.layers, run.sets.basis)}" for run in runs
    ]
    return render("explore_header.html", model=model.name, revision=model.files.revision, facts=facts)


def reading(run: LoadedRun, answer: Reading) -> str:
    """The words coloured by a neuron, with the tags that probes read."""
    profile, text = answer.neuron.profile, answer.text
    rows = list(text.tags)
    words = []
    for i, (form, value) in enumerate(zip(_forms(text.typed), answer.values, strict=True)):
        read = [text.tags[row][i] for row in rows]
        first = read[0]
        cells = tuple(
            Cell("–", "not read")
            if each is None or first is None
            else Cell(each.tag, f"probability {each.probability:.2f}", each.tag != first.tag)
            for each in read
        )
        level = 0 if value is None else level_of(value, profile.centre, profile.reach)
        title = "not read" if value is None else f"activation {value:.4g}"
        words.append(GlossedWord(form, level, title, cells))
    heads = [f"{each.name} ({len(each.probe.columns)}; test accuracy {each.accuracy:.3f})" for each in run.probes]
    return render(
        "explore_read.html",
        notes=text.typed.notes,
        neuron=answer.neuron.name,
        rank=answer.neuron.rank,
        at=AT[run.read.pooling] if run.read.read_at == "word" else "at the token before it, which predicts it",
        scale=[_number(v) for v in (profile.centre - profile.reach, profile.centre, profile.centre + profile.reach)],
        levels=range(-LEVELS, LEVELS + 1),
        heads=heads,
        lines=_lines(text.typed, words),
        rule=RULE,
        first_unread=run.read.read_at != "word",
        has_all=len(rows) > 2,
    )


def lesion(run: LoadedRun, change: Change, answer: Effect) -> str:
    """Next tokens and surprisal by word, intact and under both lesions."""
    intact, key, random = (answer.predicted[name] for name in (INTACT, KEY, RANDOM))
    words, changes = [], []
    for form, *bits in zip(_forms(answer.typed), intact.bits, key.bits, random.bits, strict=True):
        before, own, other = bits
        if before is None or own is None or other is None:
            reason = "not measured: no token of its own behind the first"
            words.append(GlossedWord(form, 0, reason, (Cell("–", reason),) * 3))
            continue
        changes.append((own - before, other - before))
        cells = Cell(f"{before:.1f}"), Cell(_signed(own - before)), Cell(_signed(other - before))
        words.append(GlossedWord(form, level_of(own - before, 0.0, FULL_COLOUR_BITS), f"{own:.2f} bits", cells))
    table = [
        (_visible(token), *(100 * float(each.next[i]) for each in (intact, key, random)))
        for i, token in zip(answer.top.tolist(), answer.tokens, strict=True)
    ]
    return render(
        "explore_lesion.html",
        notes=answer.typed.notes,
        tag=change.tag,
        n_neurons=len(run.sets.tags[change.tag]),
        factor=f"{change.factor:g}",
        draw=change.draw,
        table=table,
        heads=["intact, bits", f"{change.tag} neurons", "random neurons"],
        lines=_lines(answer.typed, words),
        means=[_signed(mean, 2) for mean in np.mean(changes, axis=0)] if changes else None,
        full_colour=f"{FULL_COLOUR_BITS:g}",
    )


def continuations(tag: str, texts: dict[str, str]) -> str:
    """The continuations side by side."""
    heads = {INTACT: "Intact model", KEY: f"{tag} neurons changed", RANDOM: "Random neurons changed"}
    return render("explore_continuations.html", texts={heads[name]: text for name, text in texts.items()})


def neurons(run: LoadedRun, tag: str, own: Sequence[Profiled], chosen: str) -> str:
    """The key neurons of a tag with their top words, and the strongest sentences of one."""
    [shown] = [each for each in own if each.name == chosen]
    return render(
        "explore_neurons.html",
        tag=tag,
        neurons=[_neuron(run, tag, each) for each in own],
        chosen=chosen,
        sentences=_sentences(run, tag, shown),
        n_dev=len(run.dev.words.rows),
    )


def _neuron(run: LoadedRun, tag: str, neuron: Profiled) -> dict[str, object]:
    separation, i = neuron.profile.separation, run.dev.names.index(tag)
    return {
        "rank": neuron.rank,
        "name": neuron.name,
        "score": f"{neuron.key.score:.3f}",
        "auroc": f"{separation.auroc[i]:.3f}",
        "control": f"{separation.control_median[i]:.3f}",
        "also": neuron.also,
        "high": [(each.form, each.tag, _number(each.mean)) for each in neuron.profile.top_types[:TYPES]],
        "low": [(each.form, each.tag, _number(each.mean)) for each in neuron.profile.bottom_types[:TYPES]],
    }


def _sentences(run: LoadedRun, tag: str, neuron: Profiled) -> list[list[object]]:
    """The dev sentences with the strongest activations of a neuron, as coloured pieces."""
    profile, dev = neuron.profile, run.dev
    coloured = coloured_words(dev, first_words=run.read.read_at == "word")
    tag_of_row = {row: dev.names[t] for row, t in zip(dev.words.rows.tolist(), dev.words.tags.tolist(), strict=True)}
    starts = np.concatenate([[0], np.cumsum([len(each.words) for each in dev.sentences])]).tolist()
    shown = []
    for number in profile.sentences[:SENTENCES]:
        rows = range(starts[number], starts[number + 1])
        words = [WordActivation(tag_of_row.get(r), float(profile.values[r]) if coloured[r] else None) for r in rows]
        own = pieces(dev.sentences[number], words, centre=profile.centre, reach=profile.reach, marked=tag)
        shown.append(list[object](own))
    return shown


def _visible(token: str) -> str:
    """A token with its spaces and line ends visible."""
    return "".join("␣" if c == " " else c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)


def _forms(typed: TypedText) -> list[str]:
    return [word.form for sentence in typed.sentences for word in sentence.words]


def _lines(typed: TypedText, words: Sequence[GlossedWord]) -> list[list[GlossedWord]]:
    """The words of every line."""
    ends = np.cumsum([len(sentence.words) for sentence in typed.sentences]).tolist()
    return [list(words[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _signed(value: float, digits: int = 1) -> str:
    """A change with its sign, and a minus of the width of the plus."""
    rounded = round(float(value), digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def _number(value: float) -> str:
    return f"{float(value) + 0.0:.3g}".replace("-", "−")
