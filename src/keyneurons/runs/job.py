"""A single run or a job of a sweep: builds the experiment, runs it, and saves its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from keyneurons.activations.processes import several_were_started
from keyneurons.artifacts.run_facts import keep_dataset_facts
from keyneurons.artifacts.run_files import sets_digest, write_run_files
from keyneurons.atomic_files import write_text
from keyneurons.build.experiment import build_experiment
from keyneurons.build.figures import build_figures
from keyneurons.config.fingerprint import activation_fingerprint, fingerprint
from keyneurons.config.schema import Config
from keyneurons.memo import Memo
from keyneurons.pipeline.experiment import Experiment, Result, run_experiment
from keyneurons.progress import stage
from keyneurons.report.figure_style import FigureOptions
from keyneurons.report.run.console import show
from keyneurons.report.run.figures import draw_figures
from keyneurons.report.run.lesions import write_continuations
from keyneurons.report.run.summary import Summary, markdown, summarise
from keyneurons.runs.membership import Membership
from keyneurons.runs.provenance import origin_tags
from keyneurons.runs.run_name import run_name
from keyneurons.runs.tracked import Heading, how_to_send, shortest, tracked
from keyneurons.terminal import clear_line, terminal
from keyneurons.tracking import write_model


def run_alone(config: Config, folder: Path, choices: Mapping[str, str]) -> None:
    """Do a single run, save its results and print its summary.

    Args:
        config: the validated configuration.
        folder: the run's folder.
        choices: the option chosen in each config group, for names and tags.
    """
    with stage(f"run in {shortest(folder)}", after=0.0):  # most of the two seconds go to imports
        _, summary, logged = tracked_run(_experiment(config, choices, None), config, folder, choices)
    console = terminal()
    show(summary, console)
    results = f"Results are in {shortest(folder)}"
    console.print(results + ("; compare runs with: keyneurons ui" if logged else ""), soft_wrap=True)
    _report_unsent(config, folder, logged)


def run_job(
    config: Config, folder: Path, choices: Mapping[str, str], sweep: Membership, number: int, *, memo: Memo
) -> None:
    """Do a job of a sweep unless it has finished before, and print its result in one line.

    Args:
        config: the validated configuration.
        folder: the job's folder.
        choices: the option chosen in each config group, for names and tags.
        sweep: the sweep of the job.
        number: number of the job in the sweep.
        memo: cache of results shared by the jobs of the process.
    """
    experiment = _experiment(config, choices, memo)
    name = run_name(config, {**choices, "selection": experiment.method}, sweep.swept)
    model = experiment.read.model.identity
    console = terminal()
    clear_line()
    if (finished := sweep.finished.get(_fingerprint(experiment, config))) is not None:
        console.print(f"#{number} {name}: already finished, see {finished}", soft_wrap=True)
        return
    places = sweep.together.get(activation_fingerprint(config, model), {})
    experiment = replace(experiment, read=replace(experiment.read, prefetch=places))
    _, summary, logged = tracked_run(experiment, config, folder, choices, name=name, parent=sweep.parent, in_sweep=True)
    clear_line()
    console.print(f"#{number} {name}: {summary.verdict}", soft_wrap=True)
    _report_unsent(config, folder, logged)


def _experiment(config: Config, choices: Mapping[str, str], memo: Memo | None) -> Experiment:
    """Build the experiment of a configuration.

    Raises:
        ValueError: if torchrun or srun started several processes.
    """
    if several_were_started():
        raise ValueError(
            "torchrun or srun started several processes; only `keyneurons extract` supports this: "
            "a run is a single process, which starts others itself for activations.devices"
        )
    return build_experiment(config, choices["selection"], memo)


def _report_unsent(config: Config, folder: Path, logged: bool) -> None:
    if not logged:
        terminal().print(how_to_send(shortest(folder), config.tracking.uri), soft_wrap=True)


def tracked_run(
    experiment: Experiment,
    config: Config,
    folder: Path,
    choices: Mapping[str, str],
    *,
    name: str | None = None,
    parent: str | None = None,
    in_sweep: bool = False,
) -> tuple[Result, Summary, bool]:
    """Run an experiment inside an MLflow run and save its results.

    Args:
        experiment: the experiment built from the configuration.
        config: the validated configuration.
        folder: the run's folder.
        choices: the option chosen in each config group, for names and tags.
        name: name of the MLflow run; None for the default name.
        parent: MLflow id of the sweep, if any.
        in_sweep: whether the run is a job of a sweep, whose server may be unreachable.

    Returns:
        The result, its summary, and whether the results were logged to MLflow.
    """
    choices = {**choices, "selection": experiment.method}
    tags = {"fingerprint": _fingerprint(experiment, config), **origin_tags(experiment.selection)}
    heading = Heading(name or run_name(config, choices), choices, parent, tags)
    with tracked(heading, config, experiment.read, folder, config.model_dump(mode="json", by_alias=True)) as run:
        result = run_experiment(experiment)
        summary = summarise(result)
        with stage("figures and files"):
            _save(result, summary, folder, build_figures(config.report))
            if config.tracking.log_model == "always" or (config.tracking.log_model == "single" and not in_sweep):
                write_model(folder)
        with stage("sending the run to MLflow"):
            return result, summary, run.send(folder)


def _fingerprint(experiment: Experiment, config: Config) -> str:
    read = experiment.read
    return fingerprint(config, read.model.identity, given_sets=experiment.given_sets, basis=read.basis.digest)


def _save(result: Result, summary: Summary, folder: Path, options: FigureOptions) -> None:
    write_run_files(result, folder)
    draw_figures(result, folder, options)
    if result.lesions is not None and result.lesions.generated is not None:
        write_continuations(result.lesions.generated, folder)
    digest = sets_digest(result.key_neurons.sets)
    keep_dataset_facts(folder, result.text.treebank, result.text.digests, neuron_sets=digest, verdict=summary.verdict)
    write_text(folder / "summary.md", markdown(summary))
