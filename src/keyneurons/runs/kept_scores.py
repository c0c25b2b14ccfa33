"""The scores of a finished run and of comparable runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyneurons.artifacts.key_neurons import basis_name
from keyneurons.artifacts.scores import SCORES_FILE, open_scores
from keyneurons.report.neuron.method_scores import KeptScores
from keyneurons.runs.finished import Run, find_runs
from keyneurons.runs.reload import Rebuilt
from keyneurons.tracking import TrackingRefused


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
    contents = (scores.site, scores.basis, scores.neurons, sorted(scores.tags), sorted(scores.layers))
    if contents != (key["site"], basis_name(key), key["neurons_per_layer"], sorted(key["tags"]), key["layers"]):
        raise ValueError(f"{path} and key_neurons.json differ in site, basis, layers, neurons or tags")
    for layer in set(layers) & scores.layers.keys():
        scores.layer(layer)
    return [KeptScores(run.name, run.id, key["method"], scores, run is rebuilt.run)]


def _scored_inputs(key: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that comparable scores share."""
    shared = {name: key[name] for name in ("model", "dataset", "tag_column", "site", "read_at", "neurons_per_layer")}
    return {**shared, "basis": key.get("basis")}


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
