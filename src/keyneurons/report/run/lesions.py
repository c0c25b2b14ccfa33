"""Results of lesions: table, verdict and generated texts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keyneurons.analysis.dissociation import Dissociation
from keyneurons.atomic_files import write_text
from keyneurons.pipeline.lesions.generated import Generated
from keyneurons.pipeline.lesions.results import LesionResult
from keyneurons.report.markup import block, table
from keyneurons.report.phrases import counted
from keyneurons.report.run.pairs import pair_facts
from keyneurons.report.steering.measures import LABELS

FEW_WORDS = 50  # tags with fewer measured words are listed
READOUTS = {"tag_mass": "probability that a word of the correct tag comes next"}


def write_continuations(result: Generated, folder: Path) -> None:
    """Write the generated texts, prompt by prompt."""
    write_text(folder / "generated.md", _side_by_side(result))


def lesion_verdict(result: LesionResult) -> str:
    """State whether lesions of a tag's key neurons affect its own words more than other words."""
    family = result.study.families[0]
    effects = result.families[family]
    if (double := effects.dissociation) is None or effects.interval is None:
        return ""
    low, high = effects.interval
    figures = (
        f"{double.diagonal_advantage:+.4f} bits per word beyond {family} sets "
        f"(95 % interval {low:+.4f} to {high:+.4f}), {_p_values(double)}"
    )
    pairs = ", ".join(f"{a}-{b}" for a, b in (pair.tags for pair in double.pairs)) or "none detected"
    if 1 / (1 + result.study.sets) > result.study.alpha:
        pairs = f"not testable with {result.study.sets} sets"
    if double.p_value <= result.study.alpha:
        claim = "hurt a tag's own words more than other words, and strong sets on sensitive tags do not explain it"
    else:
        claim = f"no difference between a tag's own words and other words detected ({_detectable(double)})"
    return f"Lesions ({result.study.lesion.mode}): {claim}: {figures}; double dissociations: {pairs}."


def lesion_rows(result: LesionResult) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table of tags: words, bits, change, interval, controls, sets, power."""
    first = result.study.families[0]
    head = ["tag", "words", "intact bits", "change", "95 % interval"]
    head += [f"{family.replace('_', ' ')} (p; sets)" for family in result.families] + ["detectable"]
    rows = []
    for i, tag in enumerate(result.tags):
        low, high = result.intervals[tag]
        row = [tag, str(result.words[tag]), f"{result.intact[tag]:.2f}", f"{result.change[i, i]:+.3f}"]
        row.append(f"{low:+.3f} to {high:+.3f}")
        effects = [family.effects[tag] for family in result.families.values()]
        row += [f"{effect.control_mean:+.3f} ({effect.p_value:.3f}; {effect.sets})" for effect in effects]
        detectable = result.families[first].effects[tag].detectable
        row.append("none" if detectable is None else f"{detectable:+.3f}")
        rows.append(tuple(row))
    return tuple(head), rows


def lesion_facts(result: LesionResult) -> Iterator[str]:
    """Further lines of the summary."""
    if result.study.neurons_revision is not None:
        yield f"the lesioned sets are of revision {result.study.neurons_revision} of the model, not of the lesioned one"
    if result.without:
        yield f"not lesioned (no key neurons): {', '.join(result.without)}"
    if result.omitted:
        yield f"not lesioned (lesion.tags={_tags(result)}): {', '.join(result.omitted)}"
    if result.guard:
        mean = float(np.mean(list(result.guard.values())))
        yield f"words of no tag under study change by {mean:+.3f} bits on average under these lesions"
    yield from _limits(result)
    n_pairs, sets = len(result.tags) * (len(result.tags) - 1) // 2, result.study.sets
    if n_pairs / (1 + sets) > result.study.alpha:
        needed = math.ceil(n_pairs / result.study.alpha - 1e-9) - 1
        yield (
            f"with {sets} sets, no double dissociation among {counted(n_pairs, 'pair')} of tags can be significant: "
            f"use lesion.sets={needed}"
        )
    for family, effects in result.families.items():
        if effects.mismatch is not None:
            yield (
                f"sets matched in {family}: mean rank difference to the key neurons {effects.mismatch:.3f} "
                "(about 1/3 for random sets)"
            )
    first = result.study.families[0]
    for name, readout in result.readouts.items():
        by_tag = ", ".join(
            f"{tag} {readout.intact[tag]:.3f} -> {readout.lesioned[tag]:.3f} "
            f"({first} sets {readout.intact[tag] - effect.control_mean:.3f}, p {effect.p_value:.3f})"
            for tag, effect in readout.families[first].items()
        )
        yield f"{READOUTS.get(name, name.replace('_', ' '))}: {by_tag}"
    if result.pairs is not None:
        yield from pair_facts(result.pairs, result.study)
    if (written := result.generated) is not None:
        yield from _generated(written, first)
    for share, changes in result.doses.items():
        if share < 1:
            mean = float(np.mean(list(changes.values())))
            yield f"lesion of the strongest {share:.0%} of each set: {mean:+.3f} bits on own words"


def _generated(written: Generated, family: str) -> Iterator[str]:
    """A line for each measure of the generated texts."""
    for name in next(iter(written.measures.values())):
        by_tag = []
        for tag, measures in written.measures.items():
            intact, beside = written.intact_measures[tag][name].value, measures[name]
            sets = f"{family} sets {beside.sets.value:.2f}, p {beside.p_value:.3f}"
            by_tag.append(f"{tag} {intact:.2f} -> {beside.key.value:.2f} ({sets})")
        yield f"{LABELS[name]} in {counted(len(written.prompts), 'generated text')}: {', '.join(by_tag)}"


def _tags(result: LesionResult) -> str:
    tags = result.study.tags
    return f"[{','.join(tags)}]" if isinstance(tags, tuple) else str(tags)


def _p_values(double: Dissociation) -> str:
    both = f"additive test {double.additive_p_value:.3f}, multiplicative test {double.multiplicative_p_value:.3f}"
    return f"p = {double.p_value:.3f} ({both}; both must be significant)"


def _detectable(double: Dissociation) -> str:
    if (least := double.smallest_detectable) is not None:
        return f"effects above {least:.4f} bits per word would have been found with 80 % power"
    return f"no effect could have been found: p is at least {double.least_p_value:.3f} with {len(double.tags)} tags"


def _limits(result: LesionResult) -> Iterator[str]:
    """What this run cannot find: the power of the comparisons, and tags with few words."""
    study = result.study
    first, sets, further, alpha = study.families[0], study.sets, study.further_sets, study.alpha
    needed = math.ceil(1 / alpha - 1e-9) - 1
    if further:
        yield (
            f"control sets: {sets} for all tags, then up to {further} for one tag, until {study.exceedances} of all "
            "change its words at least as much (sequential p-value; Besag & Clifford 1991)"
        )
    if study.least_p_value > alpha:
        yield (
            f"with {sets + further} sets, p of a tag is at least {study.least_p_value:.3f}, so no change of a single "
            f"tag can be significant at {alpha:g}: use {needed} sets"
        )
    else:
        yield f"detectable: change beyond {first} sets that would have been found with 80 % power (p <= {alpha:g})"
    if result.readouts and 1 / (1 + sets) > alpha:
        yield (
            f"the p-values of the other readouts use {sets} sets, so they are at least {1 / (1 + sets):.3f}: "
            f"use lesion.sets={needed}"
        )
    if few := [f"{tag} {count}" for tag, count in result.words.items() if count < FEW_WORDS]:
        yield f"tags with fewer than {FEW_WORDS} measured words, whose changes are imprecise: {', '.join(few)}"


def _side_by_side(result: Generated) -> str:
    """The generated texts as Markdown, prompt by prompt."""
    lines = []
    for i, prompt in enumerate(result.prompts):
        rows = [("intact", result.intact[i])]
        for tag in result.lesioned:
            rows += [(tag, result.lesioned[tag][i]), (f"control of {tag}", result.controls[tag][i])]
        shown = [(condition, " ".join(text.split())) for condition, text in rows]
        lines += [f"### {block(prompt)}", "", *table(("", ""), shown), ""]
    return "\n".join(lines)
