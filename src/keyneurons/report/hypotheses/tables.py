"""The table of hypotheses: on the console, as CSV and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.artifacts.lesions import EstimateFacts
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_text
from keyneurons.report.hypotheses.predictions import notes, predicted_deficit, signed, span
from keyneurons.report.hypotheses.records import Hypotheses, Hypothesis, LesionEffect
from keyneurons.report.markup import block, inline, table
from keyneurons.report.run.console import show_wide

OWN = ("effect", "effect_low", "effect_high", "p_value", "p_adjusted", "control_sets", "detectable")
OTHERS = ("others", "others_low", "others_high", "difference", "difference_low", "difference_high")
LESION = ("words", *OWN, *OTHERS, "double_dissociations", "predicted_deficit")
COLUMNS = ("tag", "key_neurons", "strongest", *LESION, "probe_f1", "random_f1", "probe_p_adjusted")
"""Columns of the CSV file; cells of values that the run did not measure are empty."""

HEAD = ("tag", "words", "effect (95 % interval)", "p", "adjusted", "other words", "difference (95 % interval)")
SHOWN = (*HEAD, "detectable", "double dissociations", "key neurons", "F1", "random F1", "p (F1)")


def write_hypotheses(hypotheses: Hypotheses, folder: Path) -> None:
    """Write ``hypotheses.csv`` and ``hypotheses.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [["" if value is None else value for value in row] for row in hypothesis_values(hypotheses)]
    write_table(folder / "hypotheses.csv", COLUMNS, rows)
    write_text(folder / "hypotheses.md", markdown(hypotheses))


def hypothesis_values(hypotheses: Hypotheses) -> list[list[object]]:
    """The rows of the table, unrounded, in the order of ``COLUMNS``; None where not measured."""
    return [_values(row, hypotheses) for row in hypotheses.rows]


def markdown(hypotheses: Hypotheses) -> str:
    """The table, the predicted deficits and the notes as Markdown."""
    lines = [f"# Hypotheses of {block(hypotheses.run)}", ""]
    lines += [f"- {name}: {inline(value)}" for name, value in hypotheses.settings.items()]
    lines += ["", *table(SHOWN, map(_cells, hypotheses.rows))]
    if deficits := predicted_deficits(hypotheses):
        lines += ["", "## Predicted deficits", "", *table(("tag", "prediction"), deficits)]
    lines += ["", "## Notes", "", *(f"- {block(note)}" for note in notes(hypotheses))]
    return "\n".join(lines) + "\n"


def show_hypotheses(hypotheses: Hypotheses, console: Console) -> None:
    """Print the table, the predicted deficits and the notes."""
    console.print(Text(f"Hypotheses of {hypotheses.run}", style="bold"), soft_wrap=True)
    for name, value in hypotheses.settings.items():
        console.print(Text(f"{name}: {value}"), soft_wrap=True)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in SHOWN:
        left = name in {"tag", "double dissociations", "key neurons"}
        shown.add_column(Text(name), justify="left" if left else "right", no_wrap=True)
    for row in hypotheses.rows:
        shown.add_row(*map(Text, _cells(row)))
    show_wide(shown, console)
    console.print()
    for tag, deficit in predicted_deficits(hypotheses):
        console.print(Text.assemble((tag, "bold"), f" {deficit}"), soft_wrap=True)
    for note in notes(hypotheses):
        console.print(Text(note), soft_wrap=True)


def predicted_deficits(hypotheses: Hypotheses) -> list[tuple[str, str]]:
    """The tags that were lesioned, with their predicted deficits."""
    deficits = [(row.tag, predicted_deficit(row, hypotheses.study)) for row in hypotheses.rows]
    return [(tag, deficit) for tag, deficit in deficits if deficit]


def _values(row: Hypothesis, hypotheses: Hypotheses) -> list[object]:
    effect = row.lesion
    lesion: list[object] = [None] * len(LESION)
    if effect is not None:
        beyond = effect.beyond
        tests = [effect.p_value, effect.p_adjusted, effect.sets, effect.detectable]
        estimates = [*_ends(beyond.own), *tests, *_ends(beyond.others), *_ends(beyond.difference)]
        lesion = [effect.words, *estimates, _dissociated(effect), predicted_deficit(row, hypotheses.study)]
    return [row.tag, row.neurons, row.strongest, *lesion, row.f1, row.random_f1, row.f1_p_adjusted]


def _ends(estimate: EstimateFacts) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _cells(row: Hypothesis) -> Sequence[str]:
    strongest = f"{row.neurons}, {row.strongest} first" if row.strongest else "0"
    probe = [_number(value) for value in (row.f1, row.random_f1, row.f1_p_adjusted)]
    return row.tag, *_lesion_cells(row.lesion), strongest, *probe


def _lesion_cells(effect: LesionEffect | None) -> list[str]:
    if effect is None:
        return ["-"] * 8
    own, others, difference = effect.beyond.own, effect.beyond.others, effect.beyond.difference
    shown = [f"{signed(own.value)} ({span(own)})", f"{effect.p_value:.3f}", f"{effect.p_adjusted:.3f}"]
    shown += [signed(others.value), f"{signed(difference.value)} ({span(difference)})", _number(effect.detectable)]
    return [str(effect.words), *shown, _dissociated(effect)]


def _dissociated(effect: LesionEffect) -> str:
    if effect.dissociated is None:
        return "not testable"
    return ", ".join(effect.dissociated) or "none detected"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
