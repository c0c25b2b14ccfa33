"""A finished run made again from its records: its reader, its treebank and its labels, and the runs beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.neuron_sets import read_neuron_sets
from keyneurons.artifacts.run_facts import RUN_FILE, read_logged, read_run_facts
from keyneurons.artifacts.scores import SCORES_FILE, open_scores
from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.build.tracking import build_store
from keyneurons.config.schema import Config
from keyneurons.data.digests import treebank_digest
from keyneurons.records import Labels, Treebank
from keyneurons.report.neuron.method_scores import KeptScores
from keyneurons.runs.finished import Run, find_runs, load_run
from keyneurons.tracking import Store, TrackingRefused

KEPT = ("config.yaml", KEY_NEURONS_FILE)
OURS = ("tracking.", "cache=", "model.device=")


@dataclass(frozen=True)
class FolderRun(Run):
    """A run in its folder under ``outputs/``, whether it ever reached a store or not."""

    folder: Path

    def file(self, name: str) -> Path:
        """A file of the folder.

        Raises:
            ValueError: there is none of that name.
        """
        if not (path := self.folder / name).is_file():
            raise ValueError(f"{self.folder} holds no finished run of one method: {name} missing")
        return path


@dataclass(frozen=True)
class Rebuilt:
    """What a run stands on, rebuilt."""

    run: Run
    key: Mapping[str, Any]
    read: ActivationReader
    treebank: Treebank
    labels: Labels
    seed: int


def rebuild(which: str, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> Rebuilt:
    """Find a run, and make again what it read.

    Args:
        which: MLflow id of the run, or its folder under ``outputs/``.
        overrides: those of the command line: ``tracking``, ``cache`` and ``model.device``; all else is the run's.
        compose: makes a checked configuration of overrides.

    Returns:
        The run and what it stands on; its ``store`` is the one whose other runs are looked at.

    Raises:
        ValueError: there is no such run, an override is none of these, or model or data are not what they were.
    """
    if other := [override for override in overrides if not override.startswith(OURS)]:
        raise ValueError(f"everything but {', '.join(OURS)} is taken from the run, got {other[0]}")
    if not which.strip():
        raise ValueError("the run must be its MLflow id or its folder under outputs/, got ''")
    asked = compose(overrides)
    store = build_store(asked.tracking)
    run = _folder_run(Path(which), store) if Path(which).is_dir() else load_run(store, which)
    key, config = run.key_neurons(), run.config()
    config = config.model_copy(update={"cache": asked.cache})
    if any(override.startswith("model.device=") for override in overrides):
        config = config.model_copy(update={"model": config.model.model_copy(update={"device": asked.model.device})})
    with _found_again("model", run):
        read = build_reader(config)
        # refuses another revision, tokenizer or width
        read_neuron_sets(run.file(KEY_NEURONS_FILE), read, config.dataset.tag_column)
        _check_agreement(run, key, config, read)
    with _found_again("data", run):
        dataset = build_dataset(config.dataset, config.cache.expanduser(), config.seed)
        treebank = dataset.load(read)
    if (digest := treebank_digest(treebank)) != key["dataset"]["digest"]:
        was = key["dataset"]["digest"]
        raise ValueError(f"{treebank.id} has changed since run {run.name}: digest {was[:12]} then, {digest[:12]} now")
    labels = dataset.label(treebank, first_words=read.read_at == "word")
    if other_tags := sorted(key["tags"].keys() ^ set(labels.names)):
        raise ValueError(
            f"key_neurons.json of run {run.name} ({run.id}) has tags {', '.join(key['tags'])}; its data have "
            f"{', '.join(labels.names)} (not in both: {other_tags[0]!r})"
        )
    return Rebuilt(run, key, read, treebank, labels, config.seed)


def _check_agreement(run: Run, key: Mapping[str, Any], config: Config, read: ActivationReader) -> None:
    """Refuse a run whose files contradict one another.

    Raises:
        ValueError: they do.
    """
    asked = {"read_at": config.read_at, "top_k": config.top_k, "scope": config.scope, "layers": list(read.layers)}
    for name, value in asked.items():
        if key[name] != value:
            raise ValueError(f"config.yaml says {name} {value}, key_neurons.json {key[name]}")


@contextmanager
def _found_again(what: str, run: Run) -> Generator[None]:
    """Say of what run it is that something is not where or what it was; its relative paths count from here.

    Raises:
        ValueError: it is not.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"the {what} of run {run.name} ({run.id}) cannot be reloaded: {error}") from error


def _folder_run(folder: Path, store: Store) -> FolderRun:
    """The run in a folder.

    Raises:
        ValueError: it holds none, or one of another version.
    """
    if missing := [name for name in (RUN_FILE, *KEPT) if not (folder / name).is_file()]:
        raise ValueError(f"{folder} holds no finished run of one method: {', '.join(missing)} missing")
    facts = read_run_facts(folder)
    own = read_logged(folder) or facts.run_id or str(folder)  # it may have been sent as a new run
    return FolderRun(own, facts.name, "", facts.parent, {}, {}, facts.tags, store, folder)


def kept_scores(found: Rebuilt, layers: Sequence[int]) -> tuple[list[KeptScores], list[str]]:
    """The scores of the run and of all others that scored the same neurons on the same words.

    Args:
        found: the run.
        layers: those whose scores will be read.

    Returns:
        The scores, and a line for every other run whose files are damaged.

    Raises:
        ValueError: the scores of the run itself are damaged.
        OSError: they cannot be read.
    """
    kept, damaged = [], []
    for run in [found.run, *_finished(found)]:
        try:
            own = _scores_of(run, found, layers)
        except (OSError, ValueError) as error:
            if run is found.run:
                raise
            damaged.append(f"left out run {run.name} ({run.id}): {error}")
        else:
            kept += own
    return kept, damaged


def _scores_of(run: Run, found: Rebuilt, layers: Sequence[int]) -> list[KeptScores]:
    """The scores of a run, none where it keeps none or has others.

    Raises:
        ValueError: they are damaged, or not those of its key neurons.
        OSError: they cannot be read.
    """
    try:
        path = run.file(SCORES_FILE)
    except ValueError:  # an agreement of methods keeps none
        return []
    key = found.key if run is found.run else run.key_neurons()
    if _bound(key) != _bound(found.key):
        return []
    scores = open_scores(path)
    told = (scores.site, scores.neurons, sorted(scores.tags), sorted(scores.layers))
    if told != (key["site"], key["neurons_per_layer"], sorted(key["tags"]), key["layers"]):
        raise ValueError(f"{path} is not of the same site, layers, neurons and tags as the key_neurons.json beside it")
    for layer in set(layers) & scores.layers.keys():
        scores.layer(layer)
    return [KeptScores(run.name, run.id, key["method"], scores, run is found.run)]


def _bound(key: Mapping[str, Any]) -> dict[str, Any]:
    """What scores must share to stand in one table."""
    return {name: key[name] for name in ("model", "dataset", "tag_column", "site", "read_at", "neurons_per_layer")}


def _finished(found: Rebuilt) -> list[Run]:
    """Finished runs of the same model, data and site, this one left out.

    Raises:
        TrackingRefused: the store is in trouble.
    """
    site, read_at = found.key["site"], found.key["read_at"]
    wanted = f"attributes.status = 'FINISHED' and params.site = '{site}' and params.read_at = '{read_at}'"
    try:
        runs = find_runs(found.run.store, filter=wanted)
    except TrackingRefused:
        raise
    except ValueError:  # a folder can be looked at where there is no store, or nothing in it
        return []
    alike = {name: found.run.tags.get(name) for name in ("model", "model_revision", "dataset")}
    return [run for run in runs if run.id != found.run.id and all(run.tags.get(name) == alike[name] for name in alike)]
