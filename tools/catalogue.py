"""Make the catalogue of this repository: six methods at three layers on UD English EWT.

    python tools/catalogue.py EWT catalogue

EWT is a folder with the three files of release 2.16. The runs go to ./outputs and ./mlruns of the
working directory; on two CPU cores they take about an hour. They are those of the sweep

    keyneurons -m dataset=ud_english_ewt dataset.folder=EWT dataset.max_sentences.train=3000
        selection=correlation,mutual_information,mean_difference,average_precision,l1_probe,probeless
        layer=8,16,24 reliability.confounds=false

with the first 3,000 train sentences, all dev and test sentences, and all default controls. With
`--sweep ID ...`, the finished runs of such a sweep, or of several that share the work, are
published instead.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keyneurons
from keyneurons.atomic_files import write_text
from keyneurons.catalogue.folders import new_folder
from keyneurons.catalogue.licences import licences_of
from keyneurons.catalogue.publication import write_publication
from keyneurons.metrics import ACCURACY, BEYOND_FORM, GRAMMAR, RANDOM, SPECIAL
from keyneurons.runs.finished import Run

METHODS = ("correlation", "mutual_information", "mean_difference", "average_precision", "l1_probe", "probeless")
LAYERS = (8, 16, 24)
EXPERIMENT = "catalogue"
LICENCE = "Apache-2.0"  # of this repository
HEADER = """\
# Catalogue of neuron sets

Sets of ten feed-forward neurons per UPOS tag of SmolLM2-135M-Instruct, selected by six methods at
three layers on UD English EWT 2.16 (the first 3,000 train sentences; all dev and test sentences;
confounds of single neurons not measured). Made by `tools/catalogue.py`. Each folder has a card with
the evidence, and is pulled, used and compared as [docs/catalogue.md](../docs/catalogue.md) says:

```
keyneurons pull catalogue/{first} sets
```

*Random* is the mean accuracy of as many random neurons; *special* (of 2), *beyond form* and
*grammar* (of 1) are the levels of the three questions of the verdict. `correlation` and
`mean_difference` have the same sets: for a tag, either score is a monotonic function of the other.
"""
COLUMNS = ("sets", "layer", "method", "accuracy", "random", "special", "beyond form", "grammar")


def main() -> None:
    """Do the sweep, publish its runs, and write the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ewt", type=Path, help="folder with the three files of UD English EWT 2.16")
    parser.add_argument("destination", type=Path, help="new folder of the catalogue")
    parser.add_argument("--sweep", nargs="+", help="MLflow ids of sweeps")
    options = parser.parse_args()
    runs = finished_runs(options.sweep or [sweep(options.ewt)])
    with new_folder(options.destination, options.destination) as folder:
        write_catalogue(runs, folder)


def sweep(ewt: Path) -> str:
    """Do the sweep and return its MLflow id."""
    swept = [f"selection={','.join(METHODS)}", f"layer={','.join(map(str, LAYERS))}"]
    data = ["dataset=ud_english_ewt", f"dataset.folder={ewt}", "dataset.max_sentences.train=3000"]
    others = ["reliability.confounds=false", f"tracking.experiment={EXPERIMENT}"]
    subprocess.run([sys.executable, "-m", "keyneurons", "-m", *data, *swept, *others], check=True)
    return str(keyneurons.find_runs(experiment=EXPERIMENT)[-1].parent)


def finished_runs(sweeps: Sequence[str]) -> list[Run]:
    """The first finished run of each layer and method, ordered by layer.

    Raises:
        ValueError: if one is missing.
    """
    found: dict[tuple[int, str], Run] = {}
    for run in (run for each in sweeps for run in keyneurons.find_runs(sweep=each) if run.status == "FINISHED"):
        found.setdefault((int(run.tags["layer"]), run.tags["selection"]), run)
    wanted = [(layer, method) for layer in LAYERS for method in METHODS]
    if missing := [f"{method} at layer {layer}" for layer, method in wanted if (layer, method) not in found]:
        raise ValueError(f"runs are missing: {', '.join(missing)}")
    return [found[key] for key in wanted]


def write_catalogue(runs: Sequence[Run], folder: Path) -> None:
    """Publish runs in a folder, without figures, and write the index of their sets."""
    for run in runs:
        (folder / name_of(run)).mkdir()
        licences = licences_of(run.config(), sets=LICENCE, model=None, dataset=None)
        write_publication(run, folder / name_of(run), licences, figures=False)
    rows = [
        [f"[{name_of(run)}]({name_of(run)})", run.tags["layer"], run.tags["selection"], *numbers(run.metrics)]
        for run in runs
    ]
    lines = [f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    write_text(folder / "README.md", "\n".join([HEADER.format(first=name_of(runs[0])), *lines, ""]))


def name_of(run: Run) -> str:
    """The folder of a run: site, layer and method."""
    return f"{run.tags['site']}.{run.tags['layer']}-{run.tags['selection']}"


def numbers(metrics: Mapping[str, float]) -> list[str]:
    """Accuracies, and the levels of the three questions."""
    levels = [f"{metrics[name]:.0f}" if name in metrics else "-" for name in (SPECIAL, BEYOND_FORM, GRAMMAR)]
    return [f"{metrics[ACCURACY]:.3f}", f"{metrics[RANDOM]:.3f}", *levels]


if __name__ == "__main__":
    main()
