"""Tables of a comparison side by side as text, for the console and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.analysis.run_differences import Contrast
from keyneurons.analysis.shared_sets import Counts, Runs, Shared, SharedNeuron
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.metrics import ALPHA
from keyneurons.report.comparison.side_by_side import SideBySide
from keyneurons.report.phrases import by_chance
from keyneurons.report.run.console import show_wide

EXPLAINED = (
    "By chance: mean of random sets with as many neurons in each layer. Overlap: shared neurons by the size of the "
    "smaller set. p: of sharing at least as many by chance, adjusted over the tags (Benjamini-Hochberg); that of the "
    "union is a single test."
)
DIFFERENCES_EXPLAINED = (
    "Differences are second minus first, with 95 % intervals and two-sided p-values from a bootstrap over the test "
    "sentences; p of F1 is adjusted over the tags (Benjamini-Hochberg). They do not cover the training of the probes."
)


@dataclass(frozen=True)
class TextTable:
    """A table of text; columns but the first ``n_left`` hold numbers."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_left: int = 1


def set_table(compared: SideBySide) -> TextTable | None:
    """One row per tag, and one for the unions over the tags: sizes, and what all runs share."""
    if compared.sets is None:
        return None
    two, every = len(compared.sides) == 2, tuple(range(len(compared.sides)))
    only = () if two else tuple(f"only {name}" for name in compared.letters)
    ratios = ("Jaccard", "overlap") if two else ()
    heads = ("tag", *compared.letters, *only, "shared", "by chance", *ratios, "p (adjusted)", "same sign")
    rows = []
    for tag, own in compared.sets.tags.items():
        count = own.counts.shared[every].count
        signs = "-" if own.same_sign is None else f"{own.same_sign} of {count}"
        rows.append((tag, *_counts(own.counts, every), signs))
    return TextTable(heads, (*rows, ("union", *_counts(compared.sets.union, every), "-")))


def pair_table(compared: SideBySide) -> TextTable | None:
    """One row per pair of more than two runs: means over the tags, and the unions."""
    if compared.sets is None or len(compared.sides) == 2:
        return None
    rows = []
    for runs, union in compared.sets.union.shared.items():
        if len(runs) == 2:
            own = [tag.counts.shared[runs] for tag in compared.sets.tags.values()]
            tested = [shared.p_adjusted for shared in own if shared.p_adjusted is not None]
            significant = f"{sum(p <= ALPHA for p in tested)} of {len(tested)}"
            rows.append((compared.named(runs), *_means(own), significant, str(union.count), by_chance(union.expected)))
    heads = ("runs", "mean Jaccard", "by chance", f"tags with p ≤ {ALPHA:.2f}", "shared by unions", "by chance")
    return TextTable(heads, tuple(rows))


def accuracy_table(compared: SideBySide) -> TextTable | None:
    """The accuracies of every pair of runs and their difference."""
    rows = [(_difference(compared, runs), *_contrast(own.accuracy)) for runs, own in compared.differences.items()]
    heads = ("accuracy", "first", "second", "difference", "95 % interval", "p")
    return TextTable(heads, tuple(rows)) if rows else None


def f1_table(compared: SideBySide) -> TextTable | None:
    """The F1 of every tag in every run, and the difference of every pair of runs."""
    values = {tag: [side.f1(tag) for side in compared.sides] for tag in compared.tags}
    rows = [
        (tag, *("-" if value is None else f"{value:.3f}" for value in own), *_differences(compared, tag))
        for tag, own in values.items()
        if any(value is not None for value in own)
    ]
    pairs = [head for runs in compared.differences for head in (_difference(compared, runs), "95 % interval", "p")]
    return TextTable(("F1 of", *compared.letters, *pairs), tuple(rows)) if rows else None


def metric_table(compared: SideBySide) -> TextTable | None:
    """The main metrics of every run; of two runs also their difference (B minus A)."""
    rows = []
    for name, values in compared.metrics().items():
        digits = 0 if all(value.is_integer() for value in values) and max(values) > 1 else 3
        difference = (f"{values[1] - values[0]:+.{digits}f}",) if len(values) == 2 else ()
        rows.append((name, *(f"{value:.{digits}f}" for value in values), *difference))
    heads = ("metric", *compared.letters, *(("B - A",) if len(compared.sides) == 2 else ()))
    return TextTable(heads, tuple(rows)) if rows else None


def setting_table(compared: SideBySide) -> TextTable | None:
    """The settings that differ."""
    rows = tuple((key, *(value or "-" for value in values)) for key, values in compared.settings().items())
    return TextTable(("setting", *compared.letters), rows, n_left=1 + len(compared.sides)) if rows else None


def neuron_names(compared: SideBySide, tag: str) -> dict[str, list[str]]:
    """The neurons of a tag by the runs that have them, with their ranks and scores."""
    assert compared.sets is not None
    (_, sets), names = sets_in(compared.sides[0].file), dict[str, list[str]]()
    for neuron in compared.sets.tags[tag].neurons:
        name = f"{sets.name(neuron.layer, neuron.neuron)} ({_ranked(compared, neuron)})"
        names.setdefault(compared.named(neuron.runs), []).append(name)
    return names


def show_side_by_side(compared: SideBySide, console: Console) -> None:
    """Print the sets by tag, the differences, the metrics and the settings that differ."""
    for name, side in zip(compared.letters, compared.sides, strict=True):
        console.print(Text(f"{name}: {'; '.join(side.facts.values())}", style="bold"), soft_wrap=True)
    _show(set_table(compared), console)
    if compared.sets is not None:
        console.print(Text(EXPLAINED), soft_wrap=True)
    _show(pair_table(compared), console)
    _show(accuracy_table(compared), console)
    _show(f1_table(compared), console)
    if compared.differences:
        console.print(Text(DIFFERENCES_EXPLAINED), soft_wrap=True)
    _show(metric_table(compared), console)
    _show(setting_table(compared), console)
    if compared.sets is not None:
        console.print("neurons.csv and the page list the neurons of each run and of several.", soft_wrap=True)
    for note in compared.notes:
        console.print(Text(note), soft_wrap=True)


def _show(shown: TextTable | None, console: Console) -> None:
    if shown is None:
        return
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(shown.heads):
        table.add_column(Text(head), justify="left" if i < shown.n_left else "right", no_wrap=True)
    for row in shown.rows:
        table.add_row(*map(Text, row))
    show_wide(table, console)


def _counts(counts: Counts, every: Runs) -> tuple[str, ...]:
    shared = counts.shared[every]
    p = shared.p_value if shared.p_adjusted is None else shared.p_adjusted
    two = len(every) == 2
    return (
        *map(str, counts.sizes),
        *(() if two else map(str, counts.alone)),
        str(shared.count),
        by_chance(shared.expected),
        *((_ratio(shared.jaccard), _ratio(shared.coefficient)) if two else ()),
        _p(p),
    )


def _means(shared: Sequence[Shared]) -> tuple[str, str]:
    """Mean Jaccard over the tags with neurons, and its expectation."""
    defined = [(own.jaccard, own.expected_jaccard) for own in shared]
    known = [(a, b) for a, b in defined if a is not None and b is not None]
    return (f"{fmean(a for a, _ in known):.3f}", f"{fmean(b for _, b in known):.3f}") if known else ("-", "-")


def _difference(compared: SideBySide, runs: Runs) -> str:
    first, second = (compared.letters[run] for run in runs)
    return f"{second} - {first}"


def _differences(compared: SideBySide, tag: str) -> list[str]:
    own = [differences.f1.get(tag) for differences in compared.differences.values()]
    return [cell for contrast in own for cell in (("-", "", "-") if contrast is None else _contrast(contrast)[2:])]


def _contrast(contrast: Contrast) -> tuple[str, str, str, str, str]:
    d = contrast.difference
    p = contrast.p_value if contrast.p_adjusted is None else contrast.p_adjusted
    ends = f"{d.low:+.3f} to {d.high:+.3f}"
    return f"{contrast.first:.3f}", f"{contrast.second:.3f}", f"{d.value:+.3f}", ends, _p(p)


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ranked(compared: SideBySide, neuron: SharedNeuron) -> str:
    ranked = [(compared.letters[run], neuron.ranked[run]) for run in neuron.runs]
    return ", ".join(f"{name} {own.rank}: {own.score:.3f}" for name, own in ranked if own)
