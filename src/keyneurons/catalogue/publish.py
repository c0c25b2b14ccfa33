"""Publishes a run: to a folder, or to a dataset repository of the Hugging Face hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from keyneurons.catalogue.folders import new_folder
from keyneurons.catalogue.hub import parse_place, upload
from keyneurons.catalogue.licences import Licences
from keyneurons.catalogue.publication import write_publication
from keyneurons.runs.finished import Run


def publish(run: Run, destination: str, licences: Licences, *, figures: bool = True, private: bool = False) -> str:
    """Publish a finished run.

    Args:
        run: the run.
        destination: a new or empty folder, or ``hf://datasets/OWNER/NAME[@BRANCH][/FOLDER]``.
        licences: licences of the published files, of the model and of the dataset.
        figures: whether to include the figures.
        private: whether a new repository of the hub is private.

    Returns:
        What was done, with the next step.

    Raises:
        ValueError: if the run has not finished or its files are damaged, the destination has files,
            or the hub refuses.
    """
    place = parse_place(destination)
    if place is None:
        folder = Path(destination).expanduser()
        with new_folder(folder, folder) as temporary:
            write_publication(run, temporary, licences, figures=figures)
        return f"published {run.name} ({run.id}) in {folder}{_next_step(folder)}"
    with tempfile.TemporaryDirectory() as work:
        write_publication(run, Path(work), licences, figures=figures)
        address = upload(Path(work), place, f"Key neurons of run {run.name}", private=private)
    return f"published {run.name} ({run.id}) in {place}: {address}"


def _next_step(folder: Path) -> str:
    """How to commit a folder inside a git checkout, which this package leaves to the user."""
    absolute = folder.absolute()
    checkout = next((parent for parent in absolute.parents if (parent / ".git").exists()), None)
    if checkout is None:
        return ""
    return f"; commit it with: git -C {checkout} add {absolute.relative_to(checkout).as_posix()}"
