"""An interrupted sweep: what it was, what of it is done, and the overrides that resume it."""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from keyneurons.artifacts.run_facts import RUN_FILE, read_run_facts
from keyneurons.config.overrides import check_recorded, override
from keyneurons.process_tag import alive
from keyneurons.runs.provenance import code_version

if TYPE_CHECKING:
    from keyneurons.tracking import Store

SWEEP_FILE = "sweep.json"
PLACES = ("hydra.sweep.", "hydra.launcher.submitit_folder")
"""Beginnings of keys that say where jobs are kept."""


@dataclass(frozen=True)
class Interrupted:
    """A sweep to go on with: its MLflow id, if it has one, its overrides, its folder, and its finished jobs.

    ``folder`` is None where it is not here; ``finished`` says by fingerprint which run, or folder where the server was
    away, has done it; ``versions`` are the code versions that did; ``targets`` are those that the command line names.
    """

    parent: str | None
    overrides: tuple[str, ...]
    folder: Path | None
    finished: dict[str, str] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()


class SweepFile(BaseModel):
    """What a sweep's folder says of it."""

    model_config = ConfigDict(strict=True, frozen=True)
    parent: str | None
    overrides: list[str]


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
    from keyneurons.runs.finished import log_finished
    from keyneurons.tracking import close_children

    path = Path(which).expanduser()
    folder: Path | None
    if path.is_dir():
        folder, facts = path.absolute(), _sweep_file(path)
        parent, overrides = facts.parent, tuple(facts.overrides)
        if parent is None:
            return Interrupted(None, overrides, folder, *_done_in(folder))
        tags = store.run(parent)["tags"]
    else:
        parent, tags = which, store.run(which)["tags"]
        if "overrides" not in tags:
            raise ValueError(f"run {which} in {store.uri} is no sweep's: resume=SWEEP_RUN_ID, or the sweep's folder")
        overrides, folder = tuple(shlex.split(tags["overrides"])), _own_folder(tags.get("folder", ""), parent)
    if alive(tags.get("process", "")) and store.run(parent)["status"] == "RUNNING":
        raise ValueError(f"sweep {parent} is still running ({tags['process']})")
    for run in store.runs_below(parent):
        if run["status"] == "RUNNING" and alive(run["tags"].get("process", "")):
            raise ValueError(f"a job of sweep {parent} is still running: {run['name']} ({run['tags']['process']})")
    close_children(store, parent, alive)
    left, versions = _done_in(folder)
    finished = {}
    for run in store.runs_below(parent):
        if run["status"] == "FINISHED" and "fingerprint" in run["tags"]:
            finished[run["tags"]["fingerprint"]] = f"run {run['id']}"
            versions |= {code_version(run["tags"])}
    for own in left.keys() - finished.keys():  # the server was away, or its disk full
        with contextlib.suppress(ValueError):  # else it is done again
            finished[own] = f"run {log_finished(store, Path(left[own]))}, sent now"
    return Interrupted(parent, overrides, folder, finished, versions)


def resumed_overrides(before: Interrupted, given: Sequence[str], config_dir: Path | None) -> list[str]:
    """The overrides that go on with a sweep: its own, but for those that are given anew.

    Args:
        before: the sweep.
        given: the overrides of this command line.
        config_dir: the user's own folder of options, if this command line names one.

    Returns:
        Overrides for Hydra.

    Raises:
        ValueError: one of the sweep's own reaches beyond the configuration of its jobs; anybody may have written it.
    """
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


def _own_folder(name: str, parent: str) -> Path | None:
    """The folder that a sweep's run names, if it is here and names that run: a store is written by others too."""
    try:
        return Path(name) if name and _sweep_file(Path(name)).parent == parent else None
    except ValueError:
        return None


def _sweep_file(folder: Path) -> SweepFile:
    try:
        return SweepFile.model_validate_json((folder / SWEEP_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no sweep's folder: it has no readable {SWEEP_FILE}") from error


def _done_in(folder: Path | None) -> tuple[dict[str, str], frozenset[str]]:
    """Jobs whose folders are complete, whether they reached MLflow or not."""
    finished, versions = {}, set()
    for file in folder.glob(f"*/{RUN_FILE}") if folder is not None else ():
        if (file.parent / "summary.md").is_file() and (file.parent / "metrics.json").is_file():
            with contextlib.suppress(OSError, ValueError):  # damaged: the job is done again
                tags = read_run_facts(file.parent).tags
                if "fingerprint" in tags:
                    finished[tags["fingerprint"]] = str(file.parent)
                    versions.add(code_version(tags))
    return finished, frozenset(versions)
