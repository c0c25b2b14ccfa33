"""Makes docs/performance.md of the results that the benchmarks have left.

Run with ``python benchmarks/report.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from common import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
ORDER = (
    *("extraction", "extraction_others", "size", "gpu", "selection", "attribution", "lesions"),
    *("probe", "probes", "run", "compare"),
)
INTRODUCTION = """# Performance

Made by `make bench` (`python benchmarks/report.py` makes this page of `benchmarks/results/`). Functions are timed in
turns in one process and compared as ratios, since the machine is shared and its speed drifts; CPU time is given where
wall time depends on what else it did.
"""


def section(name: str) -> str:
    """One table with what it was measured on."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return f"## {name}\n\nNot measured.\n"
    result = json.loads(path.read_text(encoding="utf-8"))
    table = [result["columns"], ["---"] * len(result["columns"]), *result["rows"]]
    here = result["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in here["versions"].items())
    lines = [f"## {result['title']}", "", *(f"| {' | '.join(row)} |" for row in table), "", result["notes"], ""]
    times = "once" if result["repeats"] == 1 else f"{result['repeats']} times"
    lines += [f"`{name}.json`: run {times}; {here['device']}, {here['processor']}, "]
    lines[-1] += f"load {here['load']} at the end; {versions}."
    return "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text("\n".join([INTRODUCTION, *map(section, ORDER)]), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
