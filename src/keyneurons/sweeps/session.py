"""The parent run of a sweep: opened before the first job, closed after the last."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.artifacts.sweep_file import SweepFile, write_sweep_file
from keyneurons.build.figures import build_figures
from keyneurons.build.tracking import build_store
from keyneurons.metric_names import LONGEST_TEXT
from keyneurons.process_tag import alive, process_tag
from keyneurons.report.figure_style import FigureOptions
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
    log_swept,
    reopen,
)

if TYPE_CHECKING:
    from keyneurons.tracking import Store


@dataclass(frozen=True)
class Outcome:
    """The result of a sweep: number of jobs without a finished run, and of those still running."""

    missing: int = 0
    running: int = 0


@dataclass
class OpenSweep:
    """An open sweep: store, folder, fingerprints of its jobs, and the record passed to each job.

    ``figures`` has the options of the figures of its comparison. ``outcome`` is set when the sweep
    is closed.
    """

    store: Store
    folder: Path
    fingerprints: frozenset[str]
    membership: Membership
    figures: FigureOptions = FigureOptions()
    outcome: Outcome = Outcome()

    @property
    def parent(self) -> str | None:
        """MLflow id of the sweep's run, or None if the server was unreachable."""
        return self.membership.parent

    def compare(self) -> str:
        """Compare the finished runs and return a message for the user."""
        from keyneurons.report.comparison import depths as by_depth
        from keyneurons.report.comparison.significance import significance_sentence
        from keyneurons.report.comparison.trajectories import in_words
        from keyneurons.sweeps.comparison import ARTIFACTS, PAGE, compare_sweep

        if self.parent is None:
            return ""
        folder = self.folder / ARTIFACTS
        try:
            comparison = compare_sweep(self.store, self.parent, folder, self.figures)
        except (OSError, ValueError) as error:
            return f"comparison failed: {' '.join(str(error).split())}"
        if comparison is None:
            return ""
        where = f"comparison: {folder / PAGE}, also in run {self.parent}"
        depth = by_depth.in_words(comparison.depths) if comparison.depths else ""
        lines = (significance_sentence(comparison.rows), *map(in_words, comparison.trajectories), depth, where)
        return "\n".join(line for line in lines if line)

    def close(self) -> None:
        """Close the parent run: FINISHED if every job has a finished run, else KILLED or FAILED.

        Runs that are still RUNNING belong to killed processes or to detached jobs of submitit.
        """
        if self.parent is None:
            return
        with contextlib.suppress(TrackingUnavailable, TrackingRefused):
            statuses = close_children(self.store, self.parent, alive)
            finished = {job for job, status in statuses if status == "FINISHED"}
            missing = self.fingerprints - finished
            unfinished = [status for job, status in statuses if job in missing]
            self.outcome = Outcome(len(missing), unfinished.count("RUNNING"))
            counts = {"finished": len(self.fingerprints & finished), "missing": len(missing)}
            counts |= {status.lower(): unfinished.count(status) for status in ("FAILED", "KILLED")}
            killed = not {"KILLED", "RUNNING"}.isdisjoint(unfinished)
            status = "FINISHED" if not missing else "KILLED" if killed else "FAILED"
            close_parent(self.store, self.parent, {f"sweep/{name}": float(n) for name, n in counts.items()}, status)


@contextlib.contextmanager
def open_sweep(
    sweep: SweepJobs, folder: Path, *, config_dir: Path | None, interrupted: Interrupted | None
) -> Generator[OpenSweep]:
    """Open the parent run, or reopen that of a resumed sweep; it is closed in any case.

    Args:
        sweep: the jobs.
        folder: the parent folder of their folders.
        config_dir: the folder of additional options, if any.
        interrupted: the sweep to resume, if any.

    Yields:
        The open sweep.
    """
    store = build_store(sweep.jobs[0].config.tracking)
    parent = _parent(sweep, store, _tags(sweep, folder, config_dir), interrupted)
    folder.mkdir(parents=True, exist_ok=True)
    collect_failures(folder)  # removes those of a killed sweep
    options = None if config_dir is None else str(config_dir)
    record = SweepFile(parent=parent, uri=store.uri, overrides=list(sweep.overrides), config_dir=options)
    write_sweep_file(folder, record)
    finished = {} if interrupted is None else interrupted.finished
    # without a parent run, finished jobs have folders but no MLflow runs
    only_folders = finished if interrupted is not None and interrupted.parent is None else {}
    fingerprints = frozenset(job.fingerprint for job in sweep.jobs).difference(only_folders)
    membership = Membership(parent, finished, together(sweep.jobs), sweep.swept)
    opened = OpenSweep(store, folder, fingerprints, membership, build_figures(sweep.jobs[0].config.report))
    try:
        yield opened
    finally:
        opened.close()


def resume_message(interrupted: Interrupted, sweep: SweepJobs) -> str:
    """The number of finished jobs of a resumed sweep, and their code versions if they differ."""
    done = sum(job.fingerprint in interrupted.finished for job in sweep.jobs)
    message = f"resuming a sweep: {done} of {len(sweep.jobs)} jobs are done"
    current = code_version(code_tags())
    if others := sorted(interrupted.versions - {current}):
        message += f" with keyneurons {', '.join(others)}; this version is {current}"
    return message


def _tags(sweep: SweepJobs, folder: Path, config_dir: Path | None) -> dict[str, str]:
    tags = {"folder": str(folder), "process": process_tag()}
    if config_dir is not None:
        tags["config_dir"] = str(config_dir)
    overrides = shlex.join(sweep.overrides)
    if len(overrides) <= LONGEST_TEXT:  # a sweep with more overrides is resumed by its folder
        tags["overrides"] = overrides
    return tags


def _parent(sweep: SweepJobs, store: Store, tags: Mapping[str, str], interrupted: Interrupted | None) -> str | None:
    """The MLflow id of the sweep's run, or None if the server is unreachable."""
    parent = None if interrupted is None else interrupted.parent
    with contextlib.suppress(TrackingUnavailable):
        client = store.connect()
        if parent is None:
            name = f"sweep of {len(sweep.jobs)}: {' x '.join(sweep.swept)}"
            parent = store.create_run(client, name, tags, None)
            log_swept(store, parent, sweep.params)
            return parent
        reopen(store, parent, tags)
    return parent
