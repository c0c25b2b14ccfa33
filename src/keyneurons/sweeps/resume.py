"""Interrupted sweeps: their record, their finished jobs, and the overrides that resume them."""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.artifacts.metrics import METRICS_FILE
from keyneurons.artifacts.run_facts import RUN_FILE, read_run_facts
from keyneurons.artifacts.sweep_file import read_sweep_file
from keyneurons.config.overrides import check_recorded, override
from keyneurons.process_tag import alive
from keyneurons.runs.finished import log_finished
from keyneurons.runs.provenance import code_version

if TYPE_CHECKING:
    from keyneurons.tracking import Store

PLACES = ("hydra.sweep.", "hydra.launcher.submitit_folder")
"""Prefixes of the keys that set the folders of jobs."""


@dataclass(frozen=True)
class Interrupted:
    """An interrupted sweep.

    ``parent`` is the MLflow id of its run, or None if the server was unreachable; ``folder`` is
    None if it is not on this machine. ``finished`` maps the fingerprints of finished jobs to their
    run, or to their folder if the server was unreachable; ``versions`` are the code versions of
    these jobs; ``config_dir`` is the folder of additional options that the sweep used.
    """

    parent: str | None
    overrides: tuple[str, ...]
    folder: Path | None
    finished: dict[str, str] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()
    config_dir: str | None = None


def find_interrupted(which: str, store: Store) -> Interrupted:
    """Find the sweep with an MLflow id or in a folder under ``outputs/``.

    Args:
        which: the id or the folder.
        store: the store of the runs.

    Returns:
        The sweep with its finished jobs.

    Raises:
        ValueError: if there is no such sweep, or it is still running.
    """
    from keyneurons.tracking import close_children

    path = Path(which).expanduser()
    recorded = _in_folder(path.absolute()) if path.is_dir() else _in_store(which, store)
    in_folder, versions = _finished_in_folder(recorded.folder)
    if recorded.parent is None:
        return replace(recorded, finished=in_folder, versions=versions)
    _check_ended(recorded.parent, store)
    close_children(store, recorded.parent, alive)
    finished, versions_in_store = _finished_in_store(recorded.parent, store)
    for job in in_folder.keys() - finished.keys():  # the server was unreachable, or its disk full
        with contextlib.suppress(ValueError):  # a job that cannot be sent runs again
            finished[job] = f"run {log_finished(store, Path(in_folder[job]))}, sent now"
    return replace(recorded, finished=finished, versions=versions | versions_in_store)


def resumed_overrides(interrupted: Interrupted, overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """The overrides that resume a sweep: its recorded ones, replaced by those of the command line.

    Args:
        interrupted: the sweep.
        overrides: overrides of the command line.
        config_dir: the folder of additional options on the command line, if any.

    Returns:
        Overrides for Hydra.

    Raises:
        ValueError: if a recorded override, which anybody may have written, sets more than the
            configuration of jobs; or the sweep used a folder of options and ``config_dir`` is None.
    """
    if interrupted.config_dir is not None and config_dir is None:
        raise ValueError(
            f"the sweep used options of the folder {interrupted.config_dir!r}; if you trust this folder, add "
            "--config-dir FOLDER"
        )
    keys = {_key(override) for override in overrides}
    # a new launcher does not have the options of the previous one
    dropped = (*PLACES, *(["hydra.launcher."] if "hydra/launcher" in keys else []))
    kept = [o for o in interrupted.overrides if _key(o) not in keys and not _key(o).startswith(dropped)]
    check_recorded(kept, config_dir=config_dir)
    return [*overrides, *kept, *_places(interrupted.folder, [*overrides, *kept])]


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def _places(folder: Path | None, overrides: Sequence[str]) -> list[str]:
    """Overrides for new job folders within the sweep's folder, and a new folder for submitit."""
    if folder is None:
        return []
    again = 1 + len({path.name.partition(".")[0] for path in folder.glob("again*.*")})
    places = [override("hydra.sweep.dir", str(folder)), f"hydra.sweep.subdir='again{again}.${{hydra.job.num}}'"]
    if any(text.startswith("hydra/launcher=submitit") for text in overrides):
        fresh = folder / ".submitit" / secrets.token_hex(4) / "%j"
        places.append(override("hydra.launcher.submitit_folder", str(fresh)))
    return places


def _in_folder(folder: Path) -> Interrupted:
    """The sweep recorded in a folder.

    Raises:
        ValueError: if the folder contains no sweep.
    """
    facts = read_sweep_file(folder)
    return Interrupted(facts.parent, tuple(facts.overrides), folder, config_dir=facts.config_dir)


def _in_store(parent: str, store: Store) -> Interrupted:
    """The sweep recorded in the tags of an MLflow run.

    Raises:
        ValueError: if there is no such run, or it is not the parent run of a sweep.
    """
    tags = store.run(parent)["tags"]
    if "overrides" not in tags:
        raise ValueError(
            f"run {parent} in {store.uri} is not a sweep: resume= takes the id of a sweep's run or its folder"
        )
    folder, overrides = _checked_folder(tags.get("folder", ""), parent), tuple(shlex.split(tags["overrides"]))
    return Interrupted(parent, overrides, folder, config_dir=tags.get("config_dir"))


def _checked_folder(name: str, parent: str) -> Path | None:
    """The sweep's folder if it exists and names the same run; others may write to the store."""
    try:
        return Path(name) if name and read_sweep_file(Path(name)).parent == parent else None
    except ValueError:
        return None


def _check_ended(parent: str, store: Store) -> None:
    """Check that no process of the sweep is running.

    Raises:
        ValueError: if the sweep or one of its jobs is still running.
    """
    run = store.run(parent)
    if run["status"] == "RUNNING" and alive(process := run["tags"].get("process", "")):
        raise ValueError(f"sweep {parent} is still running ({process})")
    for job in store.runs_below(parent):
        if job["status"] == "RUNNING" and alive(process := job["tags"].get("process", "")):
            raise ValueError(f"a job of sweep {parent} is still running: {job['name']} ({process})")


def _finished_in_store(parent: str, store: Store) -> tuple[dict[str, str], frozenset[str]]:
    """The finished runs of a sweep by fingerprint, and their code versions."""
    runs = [run for run in store.runs_below(parent) if run["status"] == "FINISHED" and "fingerprint" in run["tags"]]
    finished = {run["tags"]["fingerprint"]: f"run {run['id']}" for run in runs}
    return finished, frozenset(code_version(run["tags"]) for run in runs)


def _finished_in_folder(folder: Path | None) -> tuple[dict[str, str], frozenset[str]]:
    """The complete job folders by fingerprint, and their code versions."""
    finished, versions = {}, set()
    for file in folder.glob(f"*/{RUN_FILE}") if folder is not None else ():
        if (file.parent / "summary.md").is_file() and (file.parent / METRICS_FILE).is_file():
            with contextlib.suppress(OSError, ValueError):  # a damaged job runs again
                tags = read_run_facts(file.parent).tags
                if "fingerprint" in tags:
                    finished[tags["fingerprint"]] = str(file.parent)
                    versions.add(code_version(tags))
    return finished, frozenset(versions)
