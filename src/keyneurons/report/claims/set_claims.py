"""Claims on key-neuron sets: sizes of unions, overlap of tags, place in the model."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from keyneurons.analysis.claims import (
    expected_coefficient,
    expected_union,
    first_of_later_layers,
    share_exceeds,
    within,
)
from keyneurons.metrics import ALPHA, MEAN_COEFFICIENT, UNION_SHARE
from keyneurons.report.claims.literature import OVERLAP, PAPER_SHARE, UNION, judged, unmeasured
from keyneurons.report.claims.records import Judged, MeasuredRun


def union_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """The share of a layer that are key neurons of some tag."""
    single = [run for run in runs if run.single]
    if not single:
        return unmeasured("union")
    shares = [run.metrics[UNION_SHARE] for run in single]
    chance = [expected_union(run.sets) / run.sets.neurons_per_layer for run in single]
    reason = _inside(single, shares, UNION)
    if within(chance, *UNION) == "holds":
        reason += "; random sets of these sizes have such unions too, so the size says nothing about grammar"
    sizes = " or ".join(map(str, sorted({int(run.key["top_k"]) for run in single})))
    return judged(
        "union",
        within(shares, *UNION),
        f"{_percents(shares)} of {single[0].sets.neurons_per_layer} neurons ({sizes} per tag)",
        f"random sets: {_percents(chance)} expected",
        reason,
        single,
    )


def overlap_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """The share of their neurons that the sets of two tags have in common."""
    single = [run for run in runs if run.single and MEAN_COEFFICIENT in run.metrics]
    if not single:
        return unmeasured("overlap")
    shares = [run.metrics[MEAN_COEFFICIENT] for run in single]
    chance = [expected_coefficient(run.sets) for run in single]
    return judged(
        "overlap",
        within(shares, *OVERLAP),
        f"{_percents(shares)}, mean over pairs of tags",
        f"random sets: {_percents(chance)} expected",
        _inside(single, shares, OVERLAP),
        single,
    )


def layers_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """The share of the key neurons of all layers that are in the last two thirds."""
    whole = [run for run in runs if run.whole and run.sets.union()]
    if not whole:
        return unmeasured("layers")
    run = max(whole, key=lambda each: len(each.sets.union()))
    columns, n_layers = run.sets.union(), len(run.sets.layers)
    first = first_of_later_layers(n_layers)
    count = sum(column // run.sets.neurons_per_layer >= first for column in columns)
    p_value, verdict = share_exceeds(count, len(columns), 1 - first / n_layers, ALPHA)
    return judged(
        "layers",
        verdict,
        f"{count / len(columns):.1%} of {len(columns)} {run.sets.site} neurons are in layers {first} to {n_layers - 1}",
        f"{1 - first / n_layers:.1%} of all neurons are",
        f"p = {p_value:.2g}; neurons are taken as independent",
        [run],
    )


def paper_share_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """The share of all feed-forward neurons that the selection of arXiv:2511.06519 keeps."""
    own = [run for run in runs if run.attributed and run.layer == "all"]
    if not own:
        return unmeasured("paper share")
    run, share = own[0], own[0].metrics[UNION_SHARE]
    total = len(run.sets.layers) * run.sets.neurons_per_layer
    words = run.key.get("attribution", {}).get("words_per_tag")
    return judged(
        "paper share",
        within([share], PAPER_SHARE / 2, 2 * PAPER_SHARE),
        f"{len(run.sets.union()):,} of {total:,} neurons = {share:.2%}",
        "none: the size follows from the settings",
        f"{run.key['top_k']} neurons per tag and layer before the filter, {words} attributed words per tag",
        [run],
    )


def _inside(runs: Sequence[MeasuredRun], shares: Sequence[float], bounds: tuple[float, float]) -> str:
    layers = [str(run.sets.layers[0]) for run, own in zip(runs, shares, strict=True) if bounds[0] <= own <= bounds[1]]
    named = f" ({', '.join(layers)})" if 0 < len(layers) < len(runs) else ""
    return f"in the range in {len(layers)} of {len(runs)} layers{named}"


def _percents(shares: Collection[float]) -> str:
    smallest, largest = f"{min(shares):.1%}", f"{max(shares):.1%}"
    return smallest if smallest == largest else f"{smallest} to {largest}"
