"""The claims beside what was measured: as HTML, Markdown and CSV, and on the console."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_text
from keyneurons.report.claims.records import ClaimPage, Judged
from keyneurons.report.markup import inline, table
from keyneurons.report.pages import render

TITLE = "Published claims beside what was measured"
CSV = ("claim", "source", "verdict", "measured", "control", "reason", "rule", "runs")
SHOWN = ("claim", "verdict", "measured", "control", "reason")
STYLES = {"holds": "green", "does not hold": "red", "cannot be told": "yellow"}


def write_claims(page: ClaimPage, folder: Path) -> Path:
    """Write ``claims.csv``, ``claims.md`` and ``claims.html``.

    Returns:
        The HTML page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "claims.csv", CSV, [_values(row) for row in page.rows])
    write_text(folder / "claims.md", claims_markdown(page))
    path = folder / "claims.html"
    write_text(path, render("claims.html", title=TITLE, facts=page.facts, rows=page.rows))
    return path


def claims_markdown(page: ClaimPage) -> str:
    """The claims as a Markdown table, and the rules of the verdicts."""
    lines = [f"# {TITLE}", "", *(f"- {name}: {inline(value)}" for name, value in page.facts.items()), ""]
    cells = [(f"{row.claim.text} ({row.claim.source})", *_values(row)[2:6]) for row in page.rows]
    lines += [*table(SHOWN, cells), "", "## Rules of the verdicts", ""]
    lines += [
        *table(("claim", "holds if", "runs"), [(r.claim.text, r.claim.rule, ", ".join(r.runs)) for r in page.rows])
    ]
    return "\n".join(lines) + "\n"


def show_claims(page: ClaimPage, console: Console) -> None:
    """Print every claim with its verdict and what was measured."""
    console.print(Text(f"{TITLE}: {', '.join(page.facts.values())} runs", style="bold"), soft_wrap=True)
    for row in page.rows:
        console.print(Text.assemble((row.verdict, STYLES[row.verdict]), f": {row.claim.text}"), soft_wrap=True)
        parts = [row.measured, *([f"control: {row.control}"] if row.control else []), row.reason]
        console.print(Text(f"    {'; '.join(parts)}"), soft_wrap=True)


def _values(row: Judged) -> list[str]:
    claim = row.claim
    return [
        claim.text,
        claim.source,
        row.verdict,
        row.measured,
        row.control,
        row.reason,
        claim.rule,
        ", ".join(row.runs),
    ]
