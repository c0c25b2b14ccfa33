"""An interrupted sweep: what it was, what of it is done, and the overrides that resume it."""

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
"""Beginnings of keys that say where jobs are kept."""


@dataclass(frozen=True)
class Interrupted:
    """A sweep to resume with: its MLflow id, if it has one, its overrides, its folder, and its finished jobs.

    ``folder`` is None where it is not here; ``finished`` says by fingerprint which run, or folder where the server was
    away, has done it; ``versions`` are the code versions that did; ``config_dir`` is the folder of options that it had.
    """

    parent: str | None
    overrides: tuple[str, ...]
    folder: Path | None
    finished: dict[str, str] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()
    config_dir: str | None = None


def find_interrupted(which: str, store: Store) -> Interrupted:
    """The sweep of an MLflow id, or of a folder under ``outputs/``.

    Args:
        which: the id or the folder.
        store: where runs go.

    Returns:
        What it was and what of it is done.

    Raises:
        ValueError: there is no such sweep, or it is still running.
    """
    from keyneurons.tracking import close_children

    path = Path(which).expanduser()
    recorded = _in_folder(path.absolute()) if path.is_dir() else _in_store(which, store)
    left, versions = _done_in(recorded.folder)
    if recorded.parent is None:
        return replace(recorded, finished=left, versions=versions)
    _check_ended(recorded.parent, store)
    close_children(store, recorded.parent, alive)
    finished, of_runs = _finished(recorded.parent, store)
    for own in left.keys() - finished.keys():  # the server was away, or its disk full
        with contextlib.suppress(ValueError):  # else it is done again
            finished[own] = f"run {log_finished(store, Path(left[own]))}, sent now"
    return replace(recorded, finished=finished, versions=versions | of_runs)


def resumed_overrides(before: Interrupted, given: Sequence[str], config_dir: Path | None) -> list[str]:
    """The overrides that resume a sweep: its own, but for those that are given anew.

    Args:
        before: the sweep.
        given: the overrides of this command line.
        config_dir: the user's own folder of options, if this command line names one.

    Returns:
        Overrides for Hydra.

    Raises:
        ValueError: one of the sweep's own reaches beyond the configuration of its jobs, since anybody may have written
            it; or the sweep had a folder of options and this command line names none.
    """
    if before.config_dir is not None and config_dir is None:
        raise ValueError(
            f"the sweep used options of the folder {before.config_dir!r}; if it is yours, give it again: "
            "--config-dir FOLDER"
        )
    keys = {_key(override) for override in given}
    # another launcher does not know the options of the one before
    anew = (*PLACES, *(["hydra.launcher."] if "hydra/launcher" in keys else []))
    kept = [o for o in before.overrides if _key(o) not in keys and not _key(o).startswith(anew)]
    check_recorded(kept, config_dir=config_dir)
    return [*given, *kept, *_places(before.folder, [*given, *kept])]


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def _places(folder: Path | None, overrides: Sequence[str]) -> list[str]:
    """Where the jobs go: into the sweep's folder beside those before, and what submitit pickles where nothing was."""
    if folder is None:
        return []
    again = 1 + len({path.name.partition(".")[0] for path in folder.glob("again*.*")})
    places = [override("hydra.sweep.dir", str(folder)), f"hydra.sweep.subdir='again{again}.${{hydra.job.num}}'"]
    if any(text.startswith("hydra/launcher=submitit") for text in overrides):
        fresh = folder / ".submitit" / secrets.token_hex(4) / "%j"
        places.append(override("hydra.launcher.submitit_folder", str(fresh)))
    return places


def _in_folder(folder: Path) -> Interrupted:
    """The sweep of a folder, as its file has it.

    Raises:
        ValueError: it is no sweep's folder.
    """
    facts = read_sweep_file(folder)
    return Interrupted(facts.parent, tuple(facts.overrides), folder, config_dir=facts.config_dir)


def _in_store(parent: str, store: Store) -> Interrupted:
    """The sweep of an MLflow id, as the tags of its run have it.

    Raises:
        ValueError: there is no such run, or it is no sweep's.
    """
    tags = store.run(parent)["tags"]
    if "overrides" not in tags:
        raise ValueError(f"run {parent} in {store.uri} is no sweep's: resume=SWEEP_RUN_ID, or the sweep's folder")
    folder, overrides = _own_folder(tags.get("folder", ""), parent), tuple(shlex.split(tags["overrides"]))
    return Interrupted(parent, overrides, folder, config_dir=tags.get("config_dir"))


def _own_folder(name: str, parent: str) -> Path | None:
    """The folder that a sweep's run names, if it is here and names that run: a store is written by others too."""
    try:
        return Path(name) if name and read_sweep_file(Path(name)).parent == parent else None
    except ValueError:
        return None


def _check_ended(parent: str, store: Store) -> None:
    """Refuse a sweep that a process is still working for.

    Raises:
        ValueError: the sweep or one of its jobs is still running.
    """
    run = store.run(parent)
    if run["status"] == "RUNNING" and alive(process := run["tags"].get("process", "")):
        raise ValueError(f"sweep {parent} is still running ({process})")
    for job in store.runs_below(parent):
        if job["status"] == "RUNNING" and alive(process := job["tags"].get("process", "")):
            raise ValueError(f"a job of sweep {parent} is still running: {job['name']} ({process})")


def _finished(parent: str, store: Store) -> tuple[dict[str, str], frozenset[str]]:
    """The finished runs of a sweep by their fingerprint, and the code versions that made them."""
    runs = [run for run in store.runs_below(parent) if run["status"] == "FINISHED" and "fingerprint" in run["tags"]]
    finished = {run["tags"]["fingerprint"]: f"run {run['id']}" for run in runs}
    return finished, frozenset(code_version(run["tags"]) for run in runs)


def _done_in(folder: Path | None) -> tuple[dict[str, str], frozenset[str]]:
    """Jobs whose folders are complete, whether they reached MLflow or not."""
    finished, versions = {}, set()
    for file in folder.glob(f"*/{RUN_FILE}") if folder is not None else ():
        if (file.parent / "summary.md").is_file() and (file.parent / METRICS_FILE).is_file():
            with contextlib.suppress(OSError, ValueError):  # damaged: the job is done again
                tags = read_run_facts(file.parent).tags
                if "fingerprint" in tags:
                    finished[tags["fingerprint"]] = str(file.parent)
                    versions.add(code_version(tags))
    return finished, frozenset(versions)
