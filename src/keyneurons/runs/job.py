"""One job of a run or a sweep: validate, build, open the MLflow run, call the pipeline, keep its result."""

from __future__ import annotations

import logging
import random
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from keyneurons.activations.processes import several_were_started
from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.plain import read_json, write_yaml
from keyneurons.artifacts.run_facts import RUN_FILE
from keyneurons.artifacts.run_files import sets_digest, write_run_files
from keyneurons.atomic_files import write_json, write_text
from keyneurons.build.experiment import build_experiment
from keyneurons.build.tracking import build_store
from keyneurons.config.fingerprint import fingerprint, reading
from keyneurons.config.schema import Config
from keyneurons.memo import Memo
from keyneurons.pipeline.experiment import Experiment, Result, run_experiment
from keyneurons.process_tag import process_tag
from keyneurons.records import Treebank
from keyneurons.report.run.console import show
from keyneurons.report.run.figures import draw_figures
from keyneurons.report.run.layers import draw_layers
from keyneurons.report.run.lesions import draw_lesions, write_continuations
from keyneurons.report.run.summary import Summary, markdown, summarise
from keyneurons.runs.membership import Sweep
from keyneurons.runs.run_name import run_name
from keyneurons.terminal import terminal
from keyneurons.tracking import open_run, params_of
from keyneurons.version import __version__

log = logging.getLogger(__name__)


def run_job(
    config: Config,
    folder: Path,
    choices: Mapping[str, str],
    *,
    sweep: Sweep | None = None,
    number: int | None = None,
    memo: Memo | None = None,
) -> None:
    """Do one run from its checked configuration to its last record.

    Args:
        config: the checked configuration.
        folder: the run's own folder.
        choices: the option chosen in each config group, for names and tags.
        sweep: the sweep, if this is one of its jobs.
        number: place of the job in the sweep; a single line is shown instead of the tables.
        memo: keeps what other jobs of the process ask for again.

    Raises:
        ValueError: torchrun or Slurm has started several processes of it.
    """
    if several_were_started():
        raise ValueError(
            "several processes were started, by torchrun or srun: they can share `keyneurons extract`; "
            "a run is one process, which starts others itself for activations.devices"
        )
    experiment = build_experiment(config, choices["selection"], memo)
    choices = {**choices, "selection": experiment.method}
    name = run_name(config, choices, () if sweep is None else sweep.swept)
    console = terminal()
    if sweep is not None:
        model = experiment.read.model.identity
        if (before := sweep.finished.get(fingerprint(config, model))) is not None:
            console.print(f"#{number} {name}: done before, as {before}", soft_wrap=True)
            return
        places = sweep.together.get(reading(config, model), {})
        experiment = replace(experiment, read=replace(experiment.read, together=places))
    parent = None if sweep is None else sweep.parent
    _, summary, arrived = tracked_run(experiment, config, folder, choices, name=name, parent=parent)
    if number is None:
        show(summary, console)
        where = f"Everything is in {_short(folder)}"
        console.print(where + ("; compare runs with: keyneurons ui" if arrived else ""), soft_wrap=True)
    else:
        console.print(f"#{number} {name}: {summary.verdict}", soft_wrap=True)
    if not arrived:
        console.print(
            f"The tracking server {config.tracking.uri} is away; "
            f"send this run later with: keyneurons log {shlex.quote(str(_short(folder)))}",
            soft_wrap=True,
        )


def tracked_run(
    experiment: Experiment,
    config: Config,
    folder: Path,
    choices: Mapping[str, str],
    *,
    name: str | None = None,
    parent: str | None = None,
) -> tuple[Result, Summary, bool]:
    """Run an experiment inside an MLflow run, and keep all that it finds.

    Args:
        experiment: what was built of the configuration.
        config: the checked configuration.
        folder: the run's own folder.
        choices: the option chosen in each config group, for names and tags.
        name: of the MLflow run, if not the usual one.
        parent: MLflow id of the sweep that it belongs to.

    Returns:
        What was found, what there is to say about it, and whether the tracking server has it.
    """
    choices = {**choices, "selection": experiment.method}
    seed_everything(config.seed)
    experiment.read.bos_id()  # refused before a run is opened
    write_text(folder / "config.yaml", write_yaml(config.model_dump(mode="json", by_alias=True)))
    params_of(folder)  # a value that MLflow would cut is refused now
    tags = early_tags(config, choices, experiment.read)
    tags |= {"fingerprint": fingerprint(config, experiment.read.model.identity), "process": process_tag()}
    facts = {"name": name or run_name(config, choices), "parent": parent, "choices": dict(choices), "tags": tags}
    with open_run(build_store(config.tracking), folder, facts) as run:
        result = run_experiment(experiment)
        summary = summarise(result)
        _keep(result, summary, folder)
        return result, summary, run.send(folder)


def seed_everything(seed: int) -> None:
    """Seed every generator that a library might draw from; our own draws are seeded where they are made."""
    random.seed(seed)
    np.random.seed(seed)  # for libraries that use the global generator
    torch.manual_seed(seed)


def early_tags(config: Config, choices: Mapping[str, str], read: ActivationReader) -> dict[str, str]:
    """Tags that are known before anything is computed, so that a failed run has them too."""
    return {
        "model": read.model.files.id + (" with random weights" if read.model.random_weights else ""),
        "model_revision": read.model.files.revision,
        "layer": ",".join(map(str, read.layers)),
        "site": config.site,
        "dataset": choices["dataset"],
        "selection": choices["selection"],
        "top_k": str(config.top_k),
        "git_commit": git_commit(),
        "keyneurons_version": __version__,
    }


def keep_dataset_facts(folder: Path, treebank: Treebank, digest: str, **tags: str) -> None:
    """Write into a run's folder what its dataset was (id, digest and sizes), and more tags."""
    profile = {
        split: {"sentences": len(sentences), "words": treebank.n_words(split)}
        for split, sentences in treebank.splits.items()
    }
    facts = read_json(folder / RUN_FILE)
    facts["tags"] |= {"dataset": treebank.id, **tags}
    write_json(folder / RUN_FILE, {**facts, "dataset": {"id": treebank.id, "digest": digest, "profile": profile}})


def git_commit() -> str:
    """Commit of the checkout that this code runs from, ``+`` behind it if it was changed, or ``none``."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout

    try:
        tracked = git("ls-files", Path(__file__).name)
        if not tracked:
            return "none"
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _keep(result: Result, summary: Summary, folder: Path) -> None:
    write_run_files(result, folder)
    draw_figures(result, folder / "figures")
    draw_layers(result, folder / "figures")
    if result.lesions is not None:
        draw_lesions(result.lesions, folder / "figures")
        if result.lesions.generated is not None:
            write_continuations(result.lesions.generated, folder)
    digest = sets_digest(result.key_neurons.sets)
    keep_dataset_facts(folder, result.text.treebank, result.text.digest, neuron_sets=digest)
    write_text(folder / "summary.md", markdown(summary))


def _short(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
