"""Runs the commands of recipes in one process; reads arguments and writes metrics by title."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keyneurons

if __name__ == "__main__":
    results = {}
    for title, overrides in json.loads(sys.stdin.read()).items():
        try:
            run = keyneurons.run(*overrides)
            files = sorted(str(path.relative_to(run.folder)) for path in run.folder.rglob("*"))
            results[title] = {"metrics": dict(run.metrics), "files": files}
        except Exception as error:
            results[title] = {"error": f"{type(error).__name__}: {error}"}
    Path(sys.argv[1]).write_text(json.dumps(results))
