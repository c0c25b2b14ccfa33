"""A publication in a folder: written from a run, and checked as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyneurons.artifacts.basis import BASIS_FILE
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE, read_key_neurons, sets_in
from keyneurons.artifacts.metrics import CURVES_FILE, METRICS_FILE, read_curves, read_metrics
from keyneurons.artifacts.plain import read_json, read_yaml, write_yaml
from keyneurons.artifacts.run_facts import RUN_FILE, read_run_facts
from keyneurons.artifacts.run_files import sets_digest
from keyneurons.artifacts.tables import read_matrix
from keyneurons.atomic_files import write_json, write_text
from keyneurons.catalogue.card import Card
from keyneurons.catalogue.licences import Licences
from keyneurons.catalogue.manifest import CARD_FILE, file_names, write_manifest
from keyneurons.catalogue.public import public_config, public_facts, public_text
from keyneurons.catalogue.sets import TABLE_FILE, TENSORS_FILE, check_sets, write_sets
from keyneurons.report.run.figures import ROOT_FIGURES
from keyneurons.runs.finished import CONFIG, Run

COPIED = (KEY_NEURONS_FILE, METRICS_FILE)
REQUIRED = (CARD_FILE, *COPIED, TABLE_FILE, TENSORS_FILE, CONFIG, RUN_FILE)
COPIED_IF_PRESENT = (BASIS_FILE, CURVES_FILE, "overlap_count.csv", "overlap_p_value.csv", "lesion_effects.csv")
FIGURES = "figures"
SUFFIXES = (".png", ".svg", ".pdf")
"""Other files of a run stay behind: they may hold words of its text, or paths of its machine."""


def write_publication(run: Run, folder: Path, licences: Licences, *, figures: bool) -> None:
    """Write the publication of a finished run into an empty folder.

    Args:
        run: the run.
        folder: the folder.
        licences: licences of the published files, of the model and of the dataset.
        figures: whether to include the figures.

    Raises:
        ValueError: if the run has not finished, or its files are missing or damaged.
    """
    if run.status != "FINISHED":
        raise ValueError(f"run {run.name} ({run.id}) has not finished; only finished runs can be published")
    for name in COPIED:
        shutil.copyfile(_regular(run.file(name)), folder / name)
    for name, path in _optional_files(run, figures).items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(_regular(path), folder / name)
    config = read_yaml(_regular(run.file(CONFIG)))
    write_text(folder / CONFIG, write_yaml(public_config(config)))
    write_json(folder / RUN_FILE, _public_facts(run, config))
    write_sets(folder, read_key_neurons(folder / KEY_NEURONS_FILE))
    summary = _regular(run.file("summary.md")).read_text(encoding="utf-8")
    write_text(folder / CARD_FILE, _card(folder, public_text(summary, config), licences).markdown())
    write_manifest(folder, licences)
    check_formats(folder)


def check_formats(folder: Path) -> None:
    """Check that all files of a publication are readable in this version and agree.

    Raises:
        ValueError: if one is missing, damaged or of another version, or two differ.
    """
    if missing := [name for name in REQUIRED if not (folder / name).is_file()]:
        raise ValueError(f"{folder} is not a publication: {', '.join(missing)} missing")
    key = read_key_neurons(folder / KEY_NEURONS_FILE)
    check_sets(folder, key)
    read_metrics(folder)
    read_curves(folder)
    for path in sorted(folder.glob("overlap_*.csv")):
        read_matrix(path)
    if not isinstance(read_yaml(folder / CONFIG), dict):  # of any version: it documents the run
        raise ValueError(f"{folder / CONFIG} is damaged: it is not a mapping")
    if read_run_facts(folder).tags.get("neuron_sets") != sets_digest(sets_in(key)[1]):
        raise ValueError(f"{folder / RUN_FILE} and {KEY_NEURONS_FILE} are of different runs")
    (folder / CARD_FILE).read_text(encoding="utf-8")


def _card(folder: Path, summary: str, licences: Licences) -> Card:
    key, config = read_key_neurons(folder / KEY_NEURONS_FILE), read_yaml(folder / CONFIG)
    return Card(key, config, read_run_facts(folder), summary, licences, tuple(sorted(file_names(folder))))


def _public_facts(run: Run, config: Mapping[str, Any]) -> dict[str, Any]:
    facts = read_json(_regular(run.file(RUN_FILE)))
    return public_facts({**facts, "run_id": run.id if facts.get("run_id") else None}, config)


def _optional_files(run: Run, figures: bool) -> dict[str, Path]:
    """The files that not every run has; all figures are published in one folder."""
    places = {name: name for name in COPIED_IF_PRESENT}
    if figures:
        places |= {f"{name}{suffix}": f"{FIGURES}/{name}{suffix}" for name in ROOT_FIGURES for suffix in SUFFIXES}
    found = {place: path for name, place in places.items() if (path := _present(run, name)) is not None}
    if figures and (drawn := _present(run, FIGURES)) is not None:
        found |= {f"{FIGURES}/{path.name}": path for path in sorted(drawn.iterdir()) if path.suffix in SUFFIXES}
    return found


def _present(run: Run, name: str) -> Path | None:
    try:
        return run.file(name)
    except ValueError:
        return None


def _regular(path: Path) -> Path:
    """The path of a file that is not a link, which could publish a file from elsewhere.

    Raises:
        ValueError: if it is a link or a special file.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path} is not a regular file")
    return path
