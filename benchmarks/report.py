"""Writes docs/performance.md from the results of the benchmarks.

Run with ``python benchmarks/report.py``.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from common import RESULTS
from reach import with_reach

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
ORDER = (
    *("extraction", "extraction_others", "moments", "size", "gpu", "selection", "attribution", "faithfulness"),
    *("lesions", "probe", "probes", "run", "compare"),
)
INTRODUCTION = """# Performance

Written by `make bench` (`python benchmarks/report.py` writes this page from `benchmarks/results/`).
Functions are timed in turn in one process and compared as ratios, because the machine is shared and
its speed drifts. CPU time is given where wall time depends on the load of the machine. The column
*reach* has the figures that the project wants to reach.
"""


def section(name: str) -> str:
    """One table with its machine and versions."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return f"## {name}\n\nNot measured.\n"
    result = json.loads(path.read_text(encoding="utf-8"))
    columns, cells = with_reach(name, result["columns"], result["rows"])
    table = [columns, ["---"] * len(columns), *cells]
    here = result["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in here["versions"].items())
    rows = (f"| {' | '.join(row)} |" for row in table)
    times = {None: "", 1: "run once; "}.get(result["repeats"], f"run {result['repeats']} times; ")
    load = f", load {here['load']} at the end" if "load" in here else ""
    source = f"`{name}.json`: {times}{here['device']}, {here['processor']}{load}; {versions}."
    lines = [f"## {result['title']}", "", *rows, "", wrapped(result["notes"]), "", wrapped(source)]
    return "\n".join(lines) + "\n"


def wrapped(text: str) -> str:
    """Break a paragraph into lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    PAGE.write_text("\n".join([INTRODUCTION, *map(section, ORDER)]), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
