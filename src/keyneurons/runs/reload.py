"""Reloads the model, data and labels of a finished run, and the scores of comparable runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.basis import BASIS_FILE
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.neuron_sets import read_neuron_sets
from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.build.tracking import build_store
from keyneurons.config.schema import Config
from keyneurons.records import Labels, Treebank
from keyneurons.runs.finished import Run
from keyneurons.runs.folders import find_run

PLACES = (
    "model.folder",
    "basis.file",
    *(f"dataset.{name}" for name in ("folder", "test_folder", "file", "train", "dev", "test", "path")),
)
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
    """Find a run and reload its model; arguments and errors are those of ``rebuild``."""
    return _model_of(*_found(which, overrides, compose))


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
    return rebuilt(*_found(which, overrides, compose))


def rebuilt(run: Run, config: Config) -> Rebuilt:
    """Reload the model and the data of a run with its configuration.

    Raises:
        ValueError: if model or data are missing or have changed since the run.
    """
    found = _model_of(run, config)
    key, read = found.key, found.read
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


def key_neurons_of(run: Run, key: Mapping[str, Any], tag: str) -> list[dict[str, Any]]:
    """The key neurons of a tag in the contents of a run's ``key_neurons.json``.

    Raises:
        ValueError: the run has no such tag, or the tag no key neurons.
    """
    tags = key["tags"]
    if tag not in tags:
        raise ValueError(f"run {run.name} ({run.id}) has no tag {tag!r}; it has {', '.join(tags)}")
    if not tags[tag]:
        raise ValueError(f"tag {tag} has no key neurons in run {run.name} ({run.id})")
    neurons: list[dict[str, Any]] = tags[tag]
    return neurons


def _found(which: str, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> tuple[Run, Config]:
    """A run and its configuration with the overrides.

    Raises:
        ValueError: if there is no such run, or another key is overridden.
    """
    if other := [override for override in overrides if not override.startswith(LEGAL_OVERRIDES)]:
        raise ValueError(f"overrides must be of {', '.join(LEGAL_OVERRIDES)} (the run sets the rest), got {other[0]}")
    places = [override for override in overrides if override.partition("=")[0] in PLACES]
    requested = compose([override for override in overrides if override not in places])
    run = find_run(which, build_store(requested.tracking))
    run.file(KEY_NEURONS_FILE)  # raises for a sweep, or a run that failed
    config = _with_places(run.config(), places)
    config = config.model_copy(update={"cache": requested.cache})
    if any(override.startswith("model.device=") for override in overrides):
        config = config.model_copy(update={"model": config.model.model_copy(update={"device": requested.model.device})})
    return run, config


def _model_of(run: Run, config: Config) -> ReloadedModel:
    """Reload the model of a run.

    Raises:
        ValueError: if it is missing or has changed since the run.
    """
    key = run.key_neurons()
    with _naming_run("model", run):
        config = with_components_of(config, lambda: run.file(BASIS_FILE))
        read = build_reader(config)
        # raises for a different revision, tokenizer or width
        read_neuron_sets(run.file(KEY_NEURONS_FILE), read, config.dataset.tag_column)
        _check_agreement(run, key, config, read)
    return ReloadedModel(run, key, config, read)


def with_components_of(config: Config, file: Callable[[], Path]) -> Config:
    """The configuration of a run, with the principal components that the run has fitted, if any."""
    if config.basis.kind != "pca":
        return config
    return config.model_copy(update={"basis": config.basis.model_copy(update={"file": file()})})


def _with_places(config: Config, places: Sequence[str]) -> Config:
    """The configuration with other places of its files.

    Raises:
        ValueError: if the run's model or dataset has no such key.
    """
    for text in places:
        key, _, value = text.partition("=")
        section, _, name = key.partition(".")
        part = getattr(config, section)
        field = type(part).model_fields.get(name)
        if field is None or Path not in (field.annotation, *get_args(field.annotation)):
            kind = "kind" if section == "basis" else "source"
            raise ValueError(f"{key} does not apply to this run: its {section}.{kind} is {getattr(part, kind)}")
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
