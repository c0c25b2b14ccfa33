"""Console output of a comparison of runs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyneurons.artifacts.run_sets import explain_revisions
from keyneurons.metrics import ACCURACY, WORTH
from keyneurons.report.comparison import depths as by_depth
from keyneurons.report.comparison.best_table import CAUTION, ONE_RANKING_NOTE, best_note, best_table
from keyneurons.report.comparison.columns import columns_of
from keyneurons.report.comparison.configurations import NOTE
from keyneurons.report.comparison.factors import FIRST, short
from keyneurons.report.comparison.language_tables import language_facts
from keyneurons.report.comparison.languages import LanguageGroup
from keyneurons.report.comparison.significance import noun_of, significance_sentence
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.comparison.trajectories import in_words
from keyneurons.report.run.console import show_wide

MOST_SHOWN = 20
BEST_COLUMNS = {"question": "left", "run": "left", "value": "right", "accuracy": "right", "random": "right"}
BEST_COLUMNS |= {"p": "right", "dev": "right", "chosen": "left"}
HEADS = {"run": "best run", "random": "random sets", "p": "p special", "chosen": "chosen from"}


def show_comparison(comparison: RunComparison, console: Console) -> None:
    """Print the runs, the best run for each question, and the excluded runs."""
    console.print(Text(f"{comparison.title}: {', '.join(comparison.source.values())}", style="bold"), soft_wrap=True)
    _show_runs(comparison, console)
    console.print()
    _show_best(comparison, console)
    for group in comparison.languages:
        _show_languages(group, console)
    for note in _notes(comparison):
        console.print(Text(note), soft_wrap=True)


def _show_runs(comparison: RunComparison, console: Console) -> None:
    """Print the runs; if there are many, only those of largest worth."""
    shown, by_worth = comparison.rows, any(WORTH in row.metrics for row in comparison.rows)
    if len(shown) > MOST_SHOWN:
        by = WORTH if by_worth else ACCURACY
        shown = tuple(sorted(shown, key=lambda row: -row.metrics.get(by, -1.0)))[:MOST_SHOWN]
    columns = [column for column in columns_of(comparison.rows) if column.short]
    factors = [key for key in comparison.rows[0].factors if key in FIRST]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in map(short, factors) if factors else ["run"]:
        table.add_column(Text(name), no_wrap=True)
    for column in columns:
        table.add_column(column.head, justify="right", no_wrap=True)
    for row in shown:
        cells = [column.with_interval(row.metrics) for column in columns]
        table.add_row(*map(Text, [*(row.values(factors) or [row.label]), *cells]))
    show_wide(table, console)
    if len(shown) < len(comparison.rows):
        which = f"largest {'worth' if by_worth else 'accuracy'}"
        noun = noun_of(comparison.rows)
        note = f"the {MOST_SHOWN} {noun}s of {which} of {len(comparison.rows)}; {noun}s.csv lists all"
        console.print(Text(note), soft_wrap=True)


def _show_best(comparison: RunComparison, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in BEST_COLUMNS.items():
        table.add_column(HEADS.get(name, name), justify="left" if justify == "left" else "right", no_wrap=True)
    for best in best_table(comparison):
        ties = f" (tied with {len(best['ties'])} more)" if best["ties"] else ""
        cells = {**best, "run": best["run"] + ties}
        table.add_row(*(Text(cells[name]) for name in BEST_COLUMNS))
    show_wide(table, console)


def _show_languages(group: LanguageGroup, console: Console) -> None:
    """Print what every two languages share, and the transfer between them."""
    facts = language_facts(group)
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (f"languages {group.title}".rstrip(), "script"):
        table.add_column(Text(name), no_wrap=True)
    for name in ("tags", "Jaccard, same tag", "other tags", "random sets", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair in facts["pairs"]:
        table.add_row(*map(Text, [pair["names"], pair["script"], str(pair["tags"]), *pair["values"], pair["p"]]))
    show_wide(table, console)
    for matrix in facts["transfer"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(f"transfer, standardised on the {matrix['standardised']}", no_wrap=True)
        for name in matrix["names"]:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for source, cells in matrix["rows"]:
            table.add_row(Text(source), *(Text(f"{c['accuracy']} ({c['random']}){c['mark']}") for c in cells))
        console.print()
        show_wide(table, console)
    console.print()


def _notes(comparison: RunComparison) -> Iterator[str]:
    if comparison.has_replicates:
        yield NOTE
    yield best_note(comparison)
    if any(row.one_ranking for row in comparison.rows):
        yield ONE_RANKING_NOTE
    if sentence := significance_sentence(comparison.rows):
        yield sentence
    if len(comparison.rows) > 1:
        yield CAUTION
    yield from map(in_words, comparison.trajectories)
    if comparison.depths:
        yield by_depth.in_words(comparison.depths)
    if (revisions := explain_revisions(comparison.groups)) is not None:
        yield revisions
    for reason, names in comparison.left_out.items():
        yield f"Excluded, {reason}: {', '.join(names[:5])}{' ...' * (len(names) > 5)}"
    if comparison.not_compared is not None:
        yield comparison.not_compared
    for group in comparison.languages:
        yield from group.notes
