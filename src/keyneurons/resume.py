"""What is known of a sweep: to its jobs, and to the one that goes on with it after an interruption."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.process_tag import alive
from keyneurons.records import Site

if TYPE_CHECKING:
    from keyneurons.tracking import Store

SWEEP_FILE = "sweep.json"
RESUME = "resume="


@dataclass(frozen=True)
class Sweep:
    """What a job knows of the sweep that it belongs to.

    ``parent`` is its MLflow id, if the server answered; ``finished`` says by fingerprint which run or folder has been
    done before; ``together`` by what a run reads all layers of all sites that the sweep reads of it; ``swept`` the keys
    and groups that differ between its jobs.
    """

    parent: str | None
    finished: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, Mapping[Site, tuple[int, ...]]] = field(default_factory=dict)
    swept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interrupted:
    """A sweep to go on with: its MLflow id, if it has one, its overrides, its folder, and its finished jobs.

    ``finished`` says by fingerprint which run, or folder where the server was away, has done it; ``versions`` are the
    code versions that did.
    """

    parent: str | None
    overrides: tuple[str, ...]
    folder: Path
    finished: dict[str, str] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()


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
    from keyneurons.tracking import close_children, log_folder

    path = Path(which).expanduser()
    if path.is_dir():
        folder, facts = path.absolute(), _sweep_file(path)
        parent, overrides = facts["parent"], tuple(facts["overrides"])
        if parent is None:
            return Interrupted(None, overrides, folder, *_done_in(folder))
        tags = store.run(parent)["tags"]
    else:
        parent, tags = which, store.run(which)["tags"]
        if "overrides" not in tags:
            raise ValueError(f"run {which} in {store.uri} is no sweep's: resume=SWEEP_RUN_ID, or the sweep's folder")
        overrides, folder = tuple(shlex.split(tags["overrides"])), Path(tags.get("folder", ""))
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
            versions |= {version_of(run["tags"])}
    for own in left.keys() - finished.keys():  # the server was away, or its disk full
        with contextlib.suppress(ValueError):  # else it is done again
            finished[own] = f"run {log_folder(store, Path(left[own]))}, sent now"
    return Interrupted(parent, overrides, folder, finished, versions)


def resumed_arguments(before: Interrupted, arguments: Sequence[str]) -> list[str]:
    """The command line that goes on with a sweep: its own overrides, but for those that are given anew."""
    given = [argument for argument in arguments if not argument.startswith(RESUME)]
    keys = {argument.partition("=")[0].lstrip("+~") for argument in given}
    kept = [override for override in before.overrides if override.partition("=")[0].lstrip("+~") not in keys]
    # another launcher does not know the options of the one before
    anew = ("hydra.sweep.dir=", "hydra.sweep.subdir=", *(["hydra.launcher."] if "hydra/launcher" in keys else []))
    kept = [override for override in kept if not override.lstrip("+~").startswith(anew)]
    again = 1 + len({path.name.partition(".")[0] for path in before.folder.glob("again*.*")})
    place = [f"hydra.sweep.dir='{before.folder}'", f"hydra.sweep.subdir='again{again}.${{hydra.job.num}}'"]
    return [*given, *kept, *place]


def version_of(tags: Mapping[str, Any]) -> str:
    """The code that a run is of."""
    return f"{tags.get('keyneurons_version', 'unknown')} ({str(tags.get('git_commit', 'none'))[:8]})"


def _sweep_file(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder} is no sweep's folder: it has no readable {SWEEP_FILE}") from error
    return facts


def _done_in(folder: Path) -> tuple[dict[str, str], frozenset[str]]:
    """Jobs whose folders are complete, whether they reached MLflow or not."""
    from keyneurons.tracking import RUN_FILE

    finished, versions = {}, set()
    for file in folder.glob(f"*/{RUN_FILE}"):
        if (file.parent / "summary.md").is_file() and (file.parent / "metrics.json").is_file():
            tags = json.loads(file.read_text(encoding="utf-8"))["tags"]
            if "fingerprint" in tags:
                finished[tags["fingerprint"]] = str(file.parent)
                versions.add(version_of(tags))
    return finished, frozenset(versions)
