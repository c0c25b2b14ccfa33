"""A sweep under way: one MLflow run stands above its jobs, from before the first until after the last."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.artifacts.sweep_file import SweepFile, write_sweep_file
from keyneurons.build.tracking import build_store
from keyneurons.metric_names import LONGEST_TEXT
from keyneurons.process_tag import alive, process_tag
from keyneurons.runs.membership import Membership
from keyneurons.runs.provenance import code_tags, code_version
from keyneurons.sweeps.jobs import SweepJobs, together
from keyneurons.sweeps.launchers import collect_failures
from keyneurons.sweeps.resume import Interrupted
from keyneurons.tracking import (
    TrackingRefused,
    TrackingUnavailable,
    close_children,
    close_parent,
    reopen,
)

if TYPE_CHECKING:
    from keyneurons.tracking import Store


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep: how many jobs have no finished run, and how many of those still run by themselves."""

    missing: int = 0
    running: int = 0


@dataclass
class OpenSweep:
    """A sweep under way: the store, its folder, the fingerprints of its jobs, and what each job knows of it.

    ``outcome`` is known once it is closed.
    """

    store: Store
    folder: Path
    wanted: frozenset[str]
    membership: Membership
    outcome: Outcome = Outcome()

    @property
    def parent(self) -> str | None:
        """MLflow id of the sweep's run, if the server answered."""
        return self.membership.parent

    def compare(self) -> str:
        """Compare the runs that finished; what there is to say about it."""
        from keyneurons.sweeps.comparison import compare_sweep

        if self.parent is None:
            return ""
        try:
            page = compare_sweep(self.store, self.parent, self.folder / "comparison")
        except (OSError, ValueError) as error:
            return f"the runs were not compared: {' '.join(str(error).split())}"
        return f"compared in {page} and with run {self.parent}" if page else ""

    def close(self) -> None:
        """Close the parent run by what became of its children: FINISHED only if every job has one that finished.

        Children that are still RUNNING belong to a process that was killed, or that submitit started and left behind.
        """
        if self.parent is None:
            return
        with contextlib.suppress(TrackingUnavailable, TrackingRefused):
            statuses = close_children(self.store, self.parent, alive)
            finished = {own for own, status in statuses if status == "FINISHED"}
            missing = self.wanted - finished
            ends = [status for own, status in statuses if own in missing]
            self.outcome = Outcome(len(missing), ends.count("RUNNING"))
            counts = {"finished": len(self.wanted & finished), "missing": len(missing)}
            counts |= {status.lower(): ends.count(status) for status in ("FAILED", "KILLED")}
            killed = not {"KILLED", "RUNNING"}.isdisjoint(ends)
            status = "FINISHED" if not missing else "KILLED" if killed else "FAILED"
            close_parent(self.store, self.parent, {f"sweep/{name}": float(n) for name, n in counts.items()}, status)


@contextlib.contextmanager
def open_sweep(
    sweep: SweepJobs, folder: Path, *, config_dir: Path | None, before: Interrupted | None
) -> Generator[OpenSweep]:
    """Open the parent run, or again that of the sweep that is resumed; it is closed whatever happens.

    Args:
        sweep: the jobs.
        folder: where their folders go.
        config_dir: the user's own folder of options, if there is one.
        before: the sweep that is resumed, if one is.

    Yields:
        The sweep.
    """
    store = build_store(sweep.jobs[0].config.tracking)
    parent = _parent(sweep, store, _tags(sweep, folder, config_dir), before)
    folder.mkdir(parents=True, exist_ok=True)
    collect_failures(folder)  # of a sweep that was killed before it told them
    own = None if config_dir is None else str(config_dir)
    write_sweep_file(folder, SweepFile(parent=parent, uri=store.uri, overrides=list(sweep.overrides), config_dir=own))
    finished = {} if before is None else before.finished
    # jobs of a sweep that had no parent run are in folders only, if they are done
    in_folders = finished if before is not None and before.parent is None else {}
    wanted = frozenset(job.fingerprint for job in sweep.jobs).difference(in_folders)
    opened = OpenSweep(store, folder, wanted, Membership(parent, finished, together(sweep.jobs), sweep.swept))
    try:
        yield opened
    finally:
        opened.close()


def resuming(before: Interrupted, sweep: SweepJobs) -> str:
    """What there is to say as a sweep is resumed: how much of it is done, and by which code."""
    done = sum(job.fingerprint in before.finished for job in sweep.jobs)
    told = f"resuming a sweep: {done} of {len(sweep.jobs)} jobs are done"
    here = code_version(code_tags())
    if others := sorted(before.versions - {here}):
        told += f", by keyneurons {', '.join(others)}; this is {here}"
    return told


def _tags(sweep: SweepJobs, folder: Path, config_dir: Path | None) -> dict[str, str]:
    tags = {"folder": str(folder), "process": process_tag()}
    if config_dir is not None:
        tags["config_dir"] = str(config_dir)
    if len(told := shlex.join(sweep.overrides)) <= LONGEST_TEXT:  # else it is resumed by its folder
        tags["overrides"] = told
    return tags


def _parent(sweep: SweepJobs, store: Store, tags: Mapping[str, str], before: Interrupted | None) -> str | None:
    """The MLflow id of the sweep's run, or None where the server does not answer."""
    parent = None if before is None else before.parent
    with contextlib.suppress(TrackingUnavailable):
        client = store.connect()
        if parent is None:
            return store.create_run(client, f"sweep of {len(sweep.jobs)}: {' x '.join(sweep.swept)}", tags, None)
        reopen(store, parent, tags)
    return parent
