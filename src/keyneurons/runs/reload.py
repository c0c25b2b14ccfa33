"""Reloads the model, data and labels of a finished run, and the scores of comparable runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.neuron_sets import read_neuron_sets
from keyneurons.artifacts.scores import SCORES_FILE, open_scores
from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.build.tracking import build_store
from keyneurons.config.schema import Config
from keyneurons.records import Labels, Treebank
from keyneurons.report.neuron.method_scores import KeptScores
from keyneurons.runs.finished import Run, find_runs
from keyneurons.runs.folders import find_run
from keyneurons.tracking import TrackingRefused

PLACES = ("model.folder", *(f"dataset.{name}" for name in ("folder", "file", "train", "dev", "test", "path")))
"""Keys of files that another machine may have elsewhere; their content is checked by its digest."""
LEGAL_OVERRIDES = ("tracking.", "cache=", "model.device=", *(f"{key}=" for key in PLACES))


@dataclass(frozen=True)
class ReloadedModel:
    """A run with its key neurons, its configuration and the reader of its model."""

    run: Run
    key: Mapping[str, Any]
    config: Config
    read: ActivationReader


@dataclass(frozen=True)
class Rebuilt:
    """A run with its key neurons, reader, treebank, labels and seed."""

    run: Run
    key: Mapping[str, Any]
    read: ActivationReader
    treebank: Treebank
    labels: Labels
    seed: int


def reload_model(which: str, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> ReloadedModel:
    """Find a run and reload its model; arguments and errors are those of ``rebuild``.

    Raises:
        ValueError: if there is no such run, another key is overridden, or the model has changed
            since the run.
    """
    if other := [override for override in overrides if not override.startswith(LEGAL_OVERRIDES)]:
        raise ValueError(f"overrides must be of {', '.join(LEGAL_OVERRIDES)} (the run sets the rest), got {other[0]}")
    places = [override for override in overrides if override.partition("=")[0] in PLACES]
    requested = compose([override for override in overrides if override not in places])
    run = find_run(which, build_store(requested.tracking))
    key, config = run.key_neurons(), _with_places(run.config(), places)
    config = config.model_copy(update={"cache": requested.cache})
    if any(override.startswith("model.device=") for override in overrides):
        config = config.model_copy(update={"model": config.model.model_copy(update={"device": requested.model.device})})
    with _naming_run("model", run):
        read = build_reader(config)
        # raises for a different revision, tokenizer or width
        read_neuron_sets(run.file(KEY_NEURONS_FILE), read, config.dataset.tag_column)
        _check_agreement(run, key, config, read)
    return ReloadedModel(run, key, config, read)


def rebuild(which: str, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> Rebuilt:
    """Find a run and reload its model and data.

    Args:
        which: MLflow id of the run, or its folder under ``outputs/``.
        overrides: overrides of ``tracking``, ``cache``, ``model.device`` and the places of files;
            all other values are those of the run.
        compose: returns the validated configuration with some overrides.

    Returns:
        The run with its model and data; its ``store`` is that of the overrides.

    Raises:
        ValueError: if there is no such run, another key is overridden, or model or data have
            changed since the run.
    """
    found = reload_model(which, overrides, compose)
    run, key, config, read = found.run, found.key, found.config, found.read
    with _naming_run("data", run):
        dataset = build_dataset(config.dataset, config.cache.expanduser(), config.seed)
        treebank = dataset.load(read)
    if (digest := dataset.digests(treebank).whole) != key["dataset"]["digest"]:
        recorded = key["dataset"]["digest"]
        raise ValueError(
            f"{treebank.id} has changed since run {run.name}: digest was {recorded[:12]}, is now {digest[:12]}"
        )
    labels = dataset.label(treebank, first_words=read.read_at == "word")
    if other_tags := sorted(key["tags"].keys() ^ set(labels.names)):
        raise ValueError(
            f"key_neurons.json of run {run.name} ({run.id}) has tags {', '.join(key['tags'])}; the data have "
            f"{', '.join(labels.names)} (only in one of them: {other_tags[0]!r})"
        )
    return Rebuilt(run, key, read, treebank, labels, config.seed)


def _with_places(config: Config, places: Sequence[str]) -> Config:
    """The configuration with other places of its files.

    Raises:
        ValueError: if the run's model or dataset has no such key.
    """
    for text in places:
        key, _, value = text.partition("=")
        section, _, name = key.partition(".")
        part = getattr(config, section)
        if name not in type(part).model_fields:
            raise ValueError(f"{key} does not apply to this run: its {section}.source is {part.source}")
        changed = part.model_copy(update={name: Path(value.strip("'\"")).expanduser()})
        config = config.model_copy(update={section: changed})
    return config


def _check_agreement(run: Run, key: Mapping[str, Any], config: Config, read: ActivationReader) -> None:
    """Check that the files of a run are consistent.

    Raises:
        ValueError: if they are not.
    """
    settings = {"read_at": config.read_at, "top_k": config.top_k, "scope": config.scope, "layers": list(read.layers)}
    for name, value in settings.items():
        if key[name] != value:
            raise ValueError(f"{name} is {value} in config.yaml, but {key[name]} in key_neurons.json")


@contextmanager
def _naming_run(what: str, run: Run) -> Generator[None]:
    """Add the run's name to errors about missing or changed inputs.

    Relative paths of the run are relative to the working directory.

    Raises:
        ValueError: for every such error.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"the {what} of run {run.name} ({run.id}) cannot be reloaded: {error}") from error


def kept_scores(rebuilt: Rebuilt, layers: Sequence[int]) -> tuple[list[KeptScores], list[str]]:
    """The scores of the run and of all other runs on the same neurons and words.

    Args:
        rebuilt: the run.
        layers: the layers whose scores are needed.

    Returns:
        The scores, and a warning for each other run with damaged files.

    Raises:
        ValueError: if the scores of the run itself are damaged.
        OSError: if they cannot be read.
    """
    kept, damaged = [], []
    for run in [rebuilt.run, *_comparable_runs(rebuilt)]:
        try:
            kept += _scores_of(run, rebuilt, layers)
        except (OSError, ValueError) as error:
            if run is rebuilt.run:
                raise
            damaged.append(f"skipped run {run.name} ({run.id}): {error}")
    return kept, damaged


def _scores_of(run: Run, rebuilt: Rebuilt, layers: Sequence[int]) -> list[KeptScores]:
    """The scores of a run; empty if it has no scores, or scores of other neurons or words.

    Raises:
        ValueError: if the scores are damaged, or do not match the key neurons.
        OSError: if they cannot be read.
    """
    try:
        path = run.file(SCORES_FILE)
    except ValueError:  # runs of `agreement` have no scores
        return []
    key = rebuilt.key if run is rebuilt.run else run.key_neurons()
    if _scored_inputs(key) != _scored_inputs(rebuilt.key):
        return []
    scores = open_scores(path)
    contents = (scores.site, scores.neurons, sorted(scores.tags), sorted(scores.layers))
    if contents != (key["site"], key["neurons_per_layer"], sorted(key["tags"]), key["layers"]):
        raise ValueError(f"{path} and key_neurons.json differ in site, layers, neurons or tags")
    for layer in set(layers) & scores.layers.keys():
        scores.layer(layer)
    return [KeptScores(run.name, run.id, key["method"], scores, run is rebuilt.run)]


def _scored_inputs(key: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that comparable scores share."""
    return {name: key[name] for name in ("model", "dataset", "tag_column", "site", "read_at", "neurons_per_layer")}


def _comparable_runs(rebuilt: Rebuilt) -> list[Run]:
    """The other finished runs of the same model, data and site.

    Raises:
        TrackingRefused: if the store rejects the search.
    """
    site, read_at = rebuilt.key["site"], rebuilt.key["read_at"]
    condition = f"attributes.status = 'FINISHED' and params.site = '{site}' and params.read_at = '{read_at}'"
    try:
        runs = find_runs(rebuilt.run.store, filter=condition)
    except TrackingRefused:
        raise
    except ValueError:  # the store of a run in a folder may not exist or be empty
        return []
    shared = {name: rebuilt.run.tags.get(name) for name in ("model", "model_revision", "dataset")}
    return [
        run
        for run in runs
        if run.id != rebuilt.run.id and all(run.tags.get(name) == value for name, value in shared.items())
    ]
