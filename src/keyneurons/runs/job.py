"""A run, alone or as a job of a sweep: build, open the MLflow run, call the pipeline, keep its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from keyneurons.activations.processes import several_were_started
from keyneurons.artifacts.run_facts import keep_dataset_facts
from keyneurons.artifacts.run_files import sets_digest, write_run_files
from keyneurons.atomic_files import write_text
from keyneurons.build.experiment import build_experiment
from keyneurons.config.fingerprint import activation_fingerprint, fingerprint
from keyneurons.config.schema import Config
from keyneurons.memo import Memo
from keyneurons.pipeline.experiment import Experiment, Result, run_experiment
from keyneurons.report.run.console import show
from keyneurons.report.run.figures import draw_figures
from keyneurons.report.run.layers import draw_layers
from keyneurons.report.run.lesions import draw_lesions, write_continuations
from keyneurons.report.run.summary import Summary, markdown, summarise
from keyneurons.runs.membership import Membership
from keyneurons.runs.run_name import run_name
from keyneurons.runs.tracked import Heading, how_to_send, shortest, tracked
from keyneurons.terminal import terminal


def run_alone(config: Config, folder: Path, choices: Mapping[str, str]) -> None:
    """Do one run from its checked configuration to its last record, and show what it found.

    Args:
        config: the checked configuration.
        folder: the run's own folder.
        choices: the option chosen in each config group, for names and tags.
    """
    _, summary, arrived = tracked_run(_experiment(config, choices, None), config, folder, choices)
    console = terminal()
    show(summary, console)
    where = f"Everything is in {shortest(folder)}"
    console.print(where + ("; compare runs with: keyneurons ui" if arrived else ""), soft_wrap=True)
    _say_unsent(config, folder, arrived)


def run_job(
    config: Config, folder: Path, choices: Mapping[str, str], sweep: Membership, number: int, *, memo: Memo
) -> None:
    """Do one job of a sweep, unless it was done before, and show a line of what it found.

    Args:
        config: the checked configuration.
        folder: the job's own folder.
        choices: the option chosen in each config group, for names and tags.
        sweep: the sweep that it belongs to.
        number: its place in the sweep.
        memo: keeps what other jobs of the process ask for again.
    """
    experiment = _experiment(config, choices, memo)
    name = run_name(config, {**choices, "selection": experiment.method}, sweep.swept)
    model = experiment.read.model.identity
    console = terminal()
    if (before := sweep.finished.get(fingerprint(config, model))) is not None:
        console.print(f"#{number} {name}: done before, as {before}", soft_wrap=True)
        return
    places = sweep.together.get(activation_fingerprint(config, model), {})
    experiment = replace(experiment, read=replace(experiment.read, prefetch=places))
    _, summary, arrived = tracked_run(experiment, config, folder, choices, name=name, parent=sweep.parent)
    console.print(f"#{number} {name}: {summary.verdict}", soft_wrap=True)
    _say_unsent(config, folder, arrived)


def _experiment(config: Config, choices: Mapping[str, str], memo: Memo | None) -> Experiment:
    """What is built of a configuration.

    Raises:
        ValueError: torchrun or Slurm has started several processes of it.
    """
    if several_were_started():
        raise ValueError(
            "several processes were started, by torchrun or srun: they can share `keyneurons extract`; "
            "a run is one process, which starts others itself for activations.devices"
        )
    return build_experiment(config, choices["selection"], memo)


def _say_unsent(config: Config, folder: Path, arrived: bool) -> None:
    if not arrived:
        terminal().print(how_to_send(shortest(folder), config.tracking.uri), soft_wrap=True)


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
    heading = Heading(
        name or run_name(config, choices),
        choices,
        parent,
        {"fingerprint": fingerprint(config, experiment.read.model.identity)},
    )
    with tracked(heading, config, experiment.read, folder, config.model_dump(mode="json", by_alias=True)) as run:
        result = run_experiment(experiment)
        summary = summarise(result)
        _keep(result, summary, folder)
        return result, summary, run.send(folder)


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
