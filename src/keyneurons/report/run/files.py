"""The files of a run's folder; MLflow gets them under the same names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from keyneurons.analysis.confounds import Confounded
from keyneurons.analysis.redundancy import Redundancy
from keyneurons.artifacts.key_neurons import FORMAT
from keyneurons.artifacts.metrics import METRICS_FILE
from keyneurons.artifacts.scores import SCORES_FILE
from keyneurons.artifacts.tables import write_matrix
from keyneurons.atomic_files import write_json, write_tensors
from keyneurons.data.word_features import CONFOUNDS
from keyneurons.digests import json_digest
from keyneurons.pipeline.experiment import Experiment, Result
from keyneurons.records import NeuronSets


def key_neurons(
    experiment: Experiment,
    dataset: Mapping[str, str],
    column: str,
    sets: NeuronSets,
    confounds: Mapping[str, tuple[Confounded, ...]] | None = None,
) -> dict[str, Any]:
    """The key neurons of every tag and all that they are bound to, as JSON."""
    read = experiment.read
    return {
        "format": FORMAT,
        "model": {
            "id": read.model.files.id,
            "revision": read.model.files.revision,
            "tokenizer": read.model.tokenizer_digest,
            "random_weights": read.model.random_weights,
        },
        "dataset": dict(dataset),
        "tag_column": column,
        "site": read.site,
        "layers": list(sets.layers),
        "neurons_per_layer": sets.neurons_per_layer,
        "read_at": read.read_at,
        "method": experiment.method,
        **_attributed(experiment),
        **asdict(experiment.selection.rule),
        "seed": experiment.seed,
        "tags": {
            tag: [
                {**asdict(neuron), **_confounded(confounds[tag][place] if confounds is not None else None)}
                for place, neuron in enumerate(neurons)
            ]
            for tag, neurons in sets.tags.items()
        },
    }


def _attributed(experiment: Experiment) -> dict[str, Any]:
    """Where and how attributions were made, if neurons were scored by them."""
    if experiment.attribute is None:
        return {}
    method = experiment.attribute.method
    return {"scored_at": "prediction", "attribution": {"kind": type(method).__name__, **asdict(method)}}


def _confounded(found: Confounded | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "confounds": dict(zip(CONFOUNDS, found.correlations, strict=True)),
        "partial": found.partial,
        "partial_p_adjusted": found.p_adjusted,
        "vanishes": found.vanishes,
    }


def sets_digest(result: Result) -> str:
    """Digest of which neurons were selected for which tag, and nothing else."""
    sets = {tag: sorted((n.layer, n.neuron) for n in neurons) for tag, neurons in result.key.sets.tags.items()}
    return json_digest([result.key.sets.site, sets])[:16]


def write_tables(result: Result, folder: Path) -> None:
    """Write key neurons, overlap matrices, metrics, confusion matrix and what the checks found."""
    dataset = {"id": result.text.treebank.id, "digest": result.text.digest}
    found = key_neurons(
        result.experiment, dataset, result.text.labels.column, result.key.sets, result.reliability.confounds
    )
    write_json(folder / "key_neurons.json", found)
    shared = result.overlap
    matrices = {
        "overlap_count": shared.count,
        "overlap_coefficient": shared.coefficient,
        "overlap_jaccard": shared.jaccard,
        "overlap_expected": shared.expected,
        "overlap_p_value": shared.p_value,
    }
    for name, matrix in matrices.items():
        write_matrix(folder / f"{name}.csv", shared.tags, matrix)
    if result.evidence.key is not None:
        write_matrix(folder / "confusion.csv", result.text.labels.names, result.evidence.key.scores.confusion)
    if result.reliability.redundancy is not None:
        write_json(folder / "redundancy.json", redundancy_facts(result.key.sets, result.reliability.redundancy))
    write_json(folder / METRICS_FILE, dict(result.metrics))


def redundancy_facts(sets: NeuronSets, redundant: Redundancy) -> dict[str, Any]:
    """Clusters of key neurons, the representative first, effective dimensions and angles in degrees, as JSON."""
    width = sets.neurons_per_layer
    return {
        "clusters": [
            [{"layer": sets.layers[column // width], "neuron": column % width} for column in cluster]
            for cluster in redundant.clusters
        ],
        "effective_dimension": redundant.effective_dimension,
        "effective_dimension_by_tag": dict(redundant.effective_dimension_by_tag),
        "angles": [{"tags": list(pair), "degrees": list(angles)} for pair, angles in redundant.angles.items()],
    }


def write_scores_and_probe(result: Result, folder: Path) -> None:
    """Write the scores of all neurons, one ``[tags, neurons]`` tensor a layer, and the trained probe."""
    facts = {
        "tags": json.dumps(result.text.labels.names),
        "site": result.key.sets.site,
        "method": result.experiment.method,
    }
    write_tensors(folder / SCORES_FILE, _by_layer(result), facts)
    if result.evidence.key is None:
        return
    probe = result.evidence.key.probe
    width = result.key.sets.neurons_per_layer
    places = ",".join(f"{result.key.sets.layers[c // width]}.{c % width}" for c in probe.columns.tolist())
    tensors = {name: getattr(probe, name).contiguous() for name in ("weight", "bias", "mean", "std")}
    write_tensors(folder / "probe.safetensors", tensors, {**facts, "neurons": places})


def _by_layer(result: Result) -> dict[str, Tensor]:
    scores = result.key.scores
    width = scores.neurons_per_layer
    tensors = {}
    for i, layer in enumerate(scores.layers):
        columns = slice(i * width, (i + 1) * width)
        tensors[f"{scores.site}.{layer}"] = scores.values[:, columns].contiguous()
        if scores.p_values is not None:
            tensors[f"{scores.site}.{layer}.p_value"] = scores.p_values[:, columns].contiguous()
    return tensors
