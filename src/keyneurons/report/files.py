"""The files of a run's folder; MLflow gets them under the same names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from numpy import ndarray
from safetensors.torch import save_file
from torch import Tensor

from keyneurons.digests import json_digest
from keyneurons.files import write_json, write_text
from keyneurons.pipeline.experiment import Result

KEY_NEURONS_FORMAT = 1


def key_neurons(result: Result) -> dict[str, Any]:
    """The key neurons of every tag and all that they are bound to, as JSON."""
    experiment, read = result.experiment, result.experiment.read
    return {
        "format": KEY_NEURONS_FORMAT,
        "model": {
            "id": read.model.files.id,
            "revision": read.model.files.revision,
            "tokenizer": read.model.tokenizer_digest,
            "random_weights": read.model.random_weights,
        },
        "dataset": {"id": result.treebank.id, "digest": result.treebank_digest},
        "tag_column": result.labels.column,
        "site": read.site,
        "layers": list(result.sets.layers),
        "neurons_per_layer": result.sets.neurons_per_layer,
        "read_at": read.read_at,
        "method": experiment.method,
        "scope": experiment.scope,
        "top_k": experiment.top_k,
        "seed": experiment.seed,
        "tags": {
            tag: [
                {
                    "layer": n.layer,
                    "neuron": n.neuron,
                    "score": n.score,
                    "p_value": n.p_value,
                    "p_adjusted": n.p_adjusted,
                }
                for n in neurons
            ]
            for tag, neurons in result.sets.tags.items()
        },
    }


def sets_digest(result: Result) -> str:
    """Digest of which neurons were selected for which tag, and nothing else."""
    sets = {tag: sorted((n.layer, n.neuron) for n in neurons) for tag, neurons in result.sets.tags.items()}
    return json_digest([result.sets.site, sets])[:16]


def write_tables(result: Result, folder: Path) -> None:
    """Write key neurons, overlap matrices, metrics and confusion matrix."""
    write_json(folder / "key_neurons.json", key_neurons(result))
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
    write_matrix(folder / "confusion.csv", result.labels.names, result.evidence.confusion)
    write_json(folder / "metrics.json", dict(result.metrics))


def write_tensors(result: Result, folder: Path) -> None:
    """Write the scores of all neurons, one ``[tags, neurons]`` tensor a layer, and the trained probe."""
    facts = {"tags": json.dumps(result.labels.names), "site": result.sets.site, "method": result.experiment.method}
    save_file(_by_layer(result), folder / "scores.safetensors", metadata=facts)
    probe = result.evidence.probe
    width = result.sets.neurons_per_layer
    places = ",".join(f"{result.sets.layers[c // width]}.{c % width}" for c in probe.columns.tolist())
    tensors = {name: getattr(probe, name).contiguous() for name in ("weight", "bias", "mean", "std")}
    save_file(tensors, folder / "probe.safetensors", metadata={**facts, "neurons": places})


def write_matrix(path: Path, names: Sequence[str], matrix: Shaped[ndarray, "tags tags"]) -> None:
    """Write a matrix with the tag names as header and first column."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["", *names])
    for name, row in zip(names, matrix.tolist(), strict=True):
        table.writerow([name, *row])
    write_text(path, text.getvalue())


def _by_layer(result: Result) -> dict[str, Tensor]:
    scores, width = result.scores, result.scores.neurons_per_layer
    tensors = {}
    for i, layer in enumerate(scores.layers):
        columns = slice(i * width, (i + 1) * width)
        tensors[f"{scores.site}.{layer}"] = scores.values[:, columns].contiguous()
        if scores.p_values is not None:
            tensors[f"{scores.site}.{layer}.p_value"] = scores.p_values[:, columns].contiguous()
    return tensors
