"""Measures every number of the README and writes it: run before a release, on an idle machine.

``python tools/readme_figures.py`` runs the commands that the README names, in an empty folder, and
writes ``tools/readme/figures.json``, ``docs/images/accuracy.png`` and ``README.md``.
``--render`` only fills the template again with the figures at hand.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).parents[1]
HERE = ROOT / "tools" / "readme"
SWEEP = ("-m", "selection=correlation,mutual_information,l1_probe", "top_k=10,50", "layer=4,8,16")
SHOWN_TAGS = ("ADJ", "CCONJ", "NOUN", "PUNCT")
CONTROLS = (
    "key neurons (",
    "matched random",
    "neurons of highest variance (",
    "form of the word",
    "neurons reselected",
)
NO_METHODS = {"from_file", "random", "bottom"}
QUESTIONS = ("special:", "beyond the word form?", "grammar:")


def main() -> None:
    """Measure, unless only the template is to be filled, and write the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="only fill the template again")
    if not parser.parse_args().render:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder))
        (HERE / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (ROOT / "README.md").write_text(render(), "utf-8")


def render() -> str:
    """Fill the template with the committed figures."""
    figures = json.loads((HERE / "figures.json").read_text("utf-8"))
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string((HERE / "README.md.j2").read_text("utf-8")).render(figures)


def measure(folder: Path) -> dict[str, str]:
    """Run the default experiment and the sweep; times are those of ``benchmarks/run.py``."""
    cache = folder / "cache"
    call(folder, "fetch", f"cache={cache}")
    output = call(folder, f"cache={cache}")
    run = max((folder / "outputs").glob("*/*"))
    shutil.copyfile(run / "accuracy.png", ROOT / "docs" / "images" / "accuracy.png")
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    swept = call(folder, *SWEEP, f"cache={cache}")

    def of(name: str) -> str:
        return f"{metrics[name]:.3f}".lstrip("0")

    return {
        "key": f"{metrics['selection/union_size']:.0f}",
        "accuracy": of("probe/test_accuracy"),
        "random": of("control/random/test_accuracy"),
        "variance": of("control/top_variance/test_accuracy"),
        "form": of("control/word_form/test_accuracy"),
        "advantage": of("probe/advantage"),
        "over_variance": of("control/top_variance/difference"),
        "z": f"{metrics['control/random/z']:.1f}",
        **seconds(),
        "default": cut(output),
        "sweep": significance(swept),
        "methods": str(
            len(list((ROOT / "conf" / "selection").glob("*.yaml"))) - len(("from_file", "random", "bottom"))
        ),
    }


def seconds() -> dict[str, str]:
    """Seconds of the default run with an empty and a full cache of activations, and of a sweep."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "run.json").read_text("utf-8"))["rows"]
    of = {row[0]: f"{float(row[2]):.0f}" for row in rows}
    return {
        "cold": of["default run, empty cache"],
        "warm": of["default run, cached activations"],
        "swept": of["sweep of 18 cached jobs, basic"],
    }


def call(folder: Path, *arguments: str) -> str:
    """Output of a command.

    Raises:
        SystemExit: the command failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "keyneurons", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def cut(output: str) -> str:
    """Some tags, the main controls and the verdict of a run's output."""
    lines = [line.rstrip() for line in output.splitlines()]
    tags = [line for line in lines if line.startswith(("tag ", *(f"{tag} " for tag in SHOWN_TAGS)))]
    head = next(i for i, line in enumerate(lines) if line.startswith("accuracy on test words"))
    controls = [lines[head], *(line for line in lines[head:] if line.startswith(CONTROLS))]
    answers = [line for line in lines if line.startswith(QUESTIONS)]
    return "\n".join([*tags, "...", "", *controls, "...", "", *(line.partition("): ")[0] + ")" for line in answers)])


def significance(output: str) -> str:
    """The number of significant runs of a sweep, as a sentence."""
    line = next(line for line in output.splitlines() if line.startswith("Significant after"))
    counts = re.findall(r"(\d+) of (\d+) runs", line)
    (special, runs), (form, _), (grammar, _) = counts
    return (
        f"One parent run in MLflow with {runs} children. After correction for their number, {special} of {runs} runs\n"
        f"are better than random neurons, {form} tell more than the word form, and {grammar} show grammar."
    )


if __name__ == "__main__":
    main()
