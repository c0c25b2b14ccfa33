"""The command ``steer``: measures texts of a model with scaled key neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Int
from numpy import ndarray
from rich.text import Text

from keyneurons.analysis.controls import matched_random_sets
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.artifacts.steering import write_steering
from keyneurons.build.figures import build_figures
from keyneurons.catalogue.folders import check_new, new_folder
from keyneurons.choices import SteeringFamily
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.data.minimal_pairs import MinimalPair, packaged_minimal_pairs, read_minimal_pairs
from keyneurons.data.prompts import read_prompts
from keyneurons.data.stanza_tagging import StanzaModels, make_pipeline
from keyneurons.lesion.generation import Generation, Sampling
from keyneurons.pipeline.activations import read_activations
from keyneurons.pipeline.lesions.control_sets import CONTROL_FAMILIES, neuron_statistics
from keyneurons.pipeline.steering.measures import SHARE, STANZA
from keyneurons.pipeline.steering.study import SteeringResult, SteeringStudy, steer
from keyneurons.pipeline.steering.taggers import Tagger, by_lexicon, by_stanza, lexicon_of
from keyneurons.progress import stage
from keyneurons.report.figure_style import styled
from keyneurons.report.steering.figure import figure_of_steering
from keyneurons.report.steering.table import show_steering
from keyneurons.runs.reload import Rebuilt, key_neurons_of, rebuild
from keyneurons.terminal import terminal
from keyneurons.tracking import TrackingRefused, TrackingUnavailable, log_child

BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Request:
    """The arguments of the command; ``seeds`` None is two, or one for greedy texts."""

    run: str
    tag: str
    factors: tuple[float, ...]
    prompts: str
    seeds: int | None
    new_tokens: int
    temperature: float
    family: SteeringFamily
    sets: int
    pairs: str
    stanza: str | None
    overrides: Sequence[str]

    def study(self) -> SteeringStudy:
        """The settings of the steering, with seed 0.

        Raises:
            ValueError: a file cannot be read, or a value is not legal.
        """
        seeds = self.seeds or (2 if self.temperature else 1)
        sampling = Sampling(self.new_tokens, self.temperature)
        generation = Generation(read_prompts(self.prompts), sampling, seed=0, samples=seeds)
        pairs = _pairs(self.pairs)
        return SteeringStudy(self.tag, self.factors, self.family, self.sets, generation, pairs, BOOTSTRAPS, seed=0)


def run_steer(request: Request, out: Path | None, compose: Callable[[Sequence[str]], Config]) -> None:
    """Steer, write the results to a new folder and to a child of the MLflow run, and print them.

    Args:
        request: the run and the settings.
        out: the new folder; None for one under ``outputs/``.
        compose: returns the validated configuration with some overrides.

    Raises:
        ValueError: the folder exists, there is no such run or tag, the tag has no key neurons, the
            model does not predict the next token, or a setting is not legal.
    """
    folder = output_folder("steer") if out is None else out
    check_new(folder)
    study = request.study()
    found = rebuild(request.run, request.overrides, compose)
    key_neurons_of(found.run, found.key, request.tag)
    found.read.model.check_causal()
    taggers = _taggers(found, request.stanza)
    study = replace(study, seed=found.seed, generation=replace(study.generation, seed=found.seed))
    columns = sets_in(found.key)[1].columns(request.tag)
    result = steer(study, found.read, columns, _control_sets(found, study, columns), taggers)
    _save(result, found, folder)
    console = terminal()
    show_steering(result, console)
    console.print(Text(_logged(result, request, found, folder)), soft_wrap=True)
    console.print(Text(f"Results are in {folder}"), soft_wrap=True)


def _pairs(which: str) -> tuple[MinimalPair, ...]:
    if which == "none":
        return ()
    return packaged_minimal_pairs() if which == "packaged" else read_minimal_pairs(Path(which).expanduser())


def _taggers(found: Rebuilt, stanza: str | None) -> dict[str, Tagger]:
    labels = found.labels
    taggers = {SHARE: by_lexicon(lexicon_of(labels.splits["train"], labels.names))}
    if stanza is not None:
        with stage("loading Stanza"):
            pipeline = make_pipeline(StanzaModels(stanza, None, {}), "cpu")
        taggers[STANZA] = by_stanza(pipeline, labels.column)
    return taggers


def _control_sets(found: Rebuilt, study: SteeringStudy, columns: list[int]) -> Int[ndarray, "sets key"]:
    """Control sets of the key neurons; activations are read only for families that match them."""
    read, labels = found.read, found.labels
    if study.family == "random":
        return matched_random_sets(columns, read.units, len(read.layers), study.sets, study.seed)
    activations = read_activations(read, found.treebank, store=found.run.config().activations.store).stored()
    statistics = neuron_statistics(activations.source(labels, "layer", 2**29), labels, labels.names)
    return CONTROL_FAMILIES[study.family].draw(columns, statistics, None, study.sets, study.seed)


def _save(result: SteeringResult, found: Rebuilt, folder: Path) -> None:
    run = f"{found.run.name} ({found.run.id})"
    with new_folder(folder, folder) as new, styled(build_figures(found.run.config().report)) as save:
        write_steering(new, result, run, found.key, found.read.model)
        title = f"{found.key['model']['id']}, {found.run.name}: key neurons of {result.study.tag} times a factor"
        save(figure_of_steering(result, title), new / "steering")


def _logged(result: SteeringResult, request: Request, found: Rebuilt, folder: Path) -> str:
    """Log the results to a child of the run; a line that says so, or why not."""
    generation = result.study.generation
    params = {
        "tag": request.tag,
        "factors": ",".join(f"{factor:g}" for factor in request.factors),
        "prompts": f"{len(generation.prompts)} of {request.prompts}",
        "seeds": str(generation.samples),
        "new_tokens": str(request.new_tokens),
        "temperature": f"{request.temperature:g}",
        "family": request.family,
        "sets": str(request.sets),
    }
    store, name = found.run.store, f"steer {request.tag}"
    try:
        child = log_child(store, found.run.id, name, params=params, curves=result.curves(), folder=folder)
    except (ValueError, TrackingRefused, TrackingUnavailable) as error:
        return f"Not in MLflow: {error}"
    return f"In MLflow: run {child}, a child of {found.run.id}; its steps are factors in thousandths"
