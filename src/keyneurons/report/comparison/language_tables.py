"""Tables of several languages: what their sets share, shared core, transfer, share of script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from keyneurons.analysis.languages import Core, TagPair
from keyneurons.artifacts.tables import write_table
from keyneurons.report.comparison.languages import LanguageGroup, pairs_by_tag
from keyneurons.report.phrases import by_chance

if TYPE_CHECKING:
    from keyneurons.pipeline.transfer import Cell

ALPHA, MOST_NEURONS = 0.05, 8
SHARED = ("shared", "expected", "jaccard", "expected_jaccard", "p_value", "p_adjusted")
PAIR = ("tags", "same_tag", "other_tag", "random", "p_value", "p_adjusted")
CELL = ("words", "accuracy", "random", "spread", "majority")
DIFFERENCE = ("difference", "low", "high", "p_value", "p_adjusted")
NEW = ("new_words", "new_accuracy", "new_random")


def write_language_tables(groups: Sequence[LanguageGroup], folder: Path) -> None:
    """Write the CSV files of all groups; files without rows are not written."""
    tables = {
        "languages_by_tag": (["group", "tag", "language_a", "language_b", *SHARED], _by_tag),
        "languages": (["group", "language_a", "language_b", "same_script", *PAIR], _pairs),
        "shared_core": (["group", "tag", "languages", "at_least", "neurons", "expected", "layer_neuron"], _cores),
        "transfer": (
            ["group", "source", "target", "standardised", *CELL, *DIFFERENCE, *NEW],
            _cells,
        ),
        "script": (["group", "language", "tag", *SHARED], _script),
    }
    for name, (head, rows_of) in tables.items():
        if rows := [[group.title, *row] for group in groups for row in rows_of(group)]:
            write_table(folder / f"{name}.csv", head, rows)


def _by_tag(group: LanguageGroup) -> Iterator[list[object]]:
    for each in group.sets.by_tag:
        yield [each.tag, each.first, each.second, *_values(each, SHARED)]


def _pairs(group: LanguageGroup) -> Iterator[list[object]]:
    for pair in group.sets.pairs:
        same = group.same_script(pair)
        yield [pair.first, pair.second, "" if same is None else same, *_values(pair, PAIR)]


def _cores(group: LanguageGroup) -> Iterator[list[object]]:
    for core in group.sets.cores:
        places = " ".join(f"{layer}.{neuron}" for layer, neuron in core.neurons)
        yield [core.tag, core.languages, core.at_least, len(core.neurons), core.expected, places]


def _cells(group: LanguageGroup) -> Iterator[list[object]]:
    for cell in () if group.transfer is None else group.transfer.cells:
        own = cell.difference
        difference = [own.value, own.low, own.high, own.p_value, cell.p_adjusted]
        yield [cell.source, cell.target, cell.standardised, *_values(cell, CELL), *difference, *_values(cell, NEW)]


def _script(group: LanguageGroup) -> Iterator[list[object]]:
    for each in group.of_script:
        yield [each.first, each.tag, *_values(each, SHARED)]


def _values(record: object, names: Sequence[str]) -> list[object]:
    values = [getattr(record, name) for name in names]
    return ["" if value is None else value for value in values]


def language_facts(group: LanguageGroup) -> dict[str, Any]:
    """The facts of a group for the page and the console, as text."""
    return {
        "title": group.title,
        "names": list(group.runs),
        "notes": group.notes,
        "pairs": [
            {
                "names": f"{pair.first}, {pair.second}",
                "script": {True: "same", False: "different", None: "-"}[group.same_script(pair)],
                "tags": pair.tags,
                "values": [_number(value) for value in (pair.same_tag, pair.other_tag, pair.random)],
                "p": _number(pair.p_adjusted, 4),
            }
            for pair in group.sets.pairs
        ],
        "halves": [(name, f"{value:.3f}") for name, value in group.halves.items()],
        "tags": [_tag_facts(group, tag, own) for tag, own in pairs_by_tag(group).items()],
        "transfer": [] if group.transfer is None else [_matrix(group, each) for each in ("source", "target")],
        "transfer_tags": "" if group.transfer is None else ", ".join(group.transfer.tags),
        "script": _script_facts(group),
    }


def _tag_facts(group: LanguageGroup, tag: str, pairs: Sequence[TagPair]) -> dict[str, Any]:
    cores = [core for core in group.sets.cores if core.tag == tag]
    defined = [pair for pair in pairs if pair.jaccard is not None]
    return {
        "tag": tag,
        "languages": len(group.sets.having[tag]),
        "jaccard": _number(fmean(p.jaccard or 0 for p in defined) if defined else None),
        "chance": _number(fmean(p.expected_jaccard or 0 for p in defined) if defined else None),
        "significant": f"{sum(_significant(pair) for pair in pairs)} of {len(pairs)}",
        "cores": [f"{len(core.neurons)} ({by_chance(core.expected)})" for core in cores],
        "neurons": [f"{layer}.{neuron}" for layer, neuron in _shared_by_most(cores)][:MOST_NEURONS],
    }


def _shared_by_most(cores: Sequence[Core]) -> tuple[tuple[int, int], ...]:
    """The neurons of the highest number of languages that any share."""
    return next((core.neurons for core in reversed(cores) if core.neurons), ())


def _matrix(group: LanguageGroup, standardised: str) -> dict[str, Any]:
    assert group.transfer is not None
    cells = {(c.source, c.target): c for c in group.transfer.cells if c.standardised == standardised}
    names = group.transfer.names
    return {
        "standardised": standardised,
        "names": names,
        "rows": [(source, [_cell(cells[source, target]) for target in names]) for source in names],
        "majority": [f"{cells[names[0], target].majority:.2f}" for target in names],
    }


def _cell(cell: Cell) -> dict[str, str]:
    own = cell.difference
    new = "" if cell.new_accuracy is None else f"; on {cell.new_words} words of new types {cell.new_accuracy:.3f}"
    return {
        "accuracy": f"{cell.accuracy:.2f}",
        "random": f"{cell.random:.2f}",
        "mark": "*" if cell.p_adjusted <= ALPHA and own.low > 0 else "",
        "title": f"difference {own.value:+.3f} ({own.low:+.3f} to {own.high:+.3f}), p {cell.p_adjusted:.4f}{new}",
    }


def _script_facts(group: LanguageGroup) -> list[dict[str, str]]:
    """By language: its tag-neuron pairs that are neurons of script, and as many by chance."""
    facts = []
    for name in group.runs:
        own = [pair for pair in group.of_script if pair.first == name]
        if own:
            facts.append({
                "name": name,
                "shared": str(sum(pair.shared for pair in own)),
                "chance": by_chance(sum(pair.expected for pair in own)),
                "tags": ", ".join(pair.tag for pair in own if _significant(pair)) or "-",
            })
    return facts


def _significant(pair: TagPair) -> bool:
    return pair.p_adjusted is not None and pair.p_adjusted <= ALPHA


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
