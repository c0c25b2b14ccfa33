"""``scores.safetensors``: the scores of all neurons, one ``[tags, neurons]`` tensor per layer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from keyneurons.artifacts.bound import NEURONS
from keyneurons.atomic_files import check_regular, write_tensors
from keyneurons.records import Scores

SCORES_FILE = "scores.safetensors"
_TENSOR = re.compile(r"(?P<site>\w+)\.(?P<layer>[0-9]+)(?P<p>\.p_value)?")


def write_scores(path: Path, scores: Scores, tags: Sequence[str], method: str, basis: str = NEURONS.name) -> None:
    """Write the scores of all neurons, p-values if the method has them, tags, method and basis."""
    width, tensors = scores.neurons_per_layer, dict[str, Tensor]()
    of_basis = {} if basis == NEURONS.name else {"basis": basis}
    for i, layer in enumerate(scores.layers):
        columns = slice(i * width, (i + 1) * width)
        tensors[f"{scores.site}.{layer}"] = scores.values[:, columns].contiguous()
        if scores.p_values is not None:
            tensors[f"{scores.site}.{layer}.p_value"] = scores.p_values[:, columns].contiguous()
    write_tensors(path, tensors, {"tags": json.dumps(tags), "site": scores.site, "method": method, **of_basis})


@dataclass(frozen=True)
class ScoresFile:
    """A file of scores with a valid header: its tags, and the tensor names by layer.

    ``basis`` is the kind of units that are scored.
    """

    path: Path
    site: str
    tags: tuple[str, ...]
    neurons: int
    layers: Mapping[int, str]
    basis: str = NEURONS.name

    def layer(self, layer: int) -> Float[ndarray, "tags neurons"]:
        """The scores of a layer.

        Raises:
            ValueError: the tensor is damaged.
        """
        try:
            with safe_open(self.path, framework="np") as file:
                scores: ndarray = file.get_tensor(self.layers[layer])
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from error
        if not np.isfinite(scores).all():
            raise ValueError(f"{self.path} is damaged: scores of layer {layer} are not finite")
        return scores


def open_scores(path: Path) -> ScoresFile:
    """Read and check the header of a file of scores.

    Raises:
        ValueError: the file is damaged or not a file of scores.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            shapes = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
        tags, site = json.loads(facts["tags"]), facts["site"]
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    named = isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    if not named or not tags or len(set(tags)) < len(tags):
        raise ValueError(f"{path} is damaged: its tags are {tags!r}")
    widths, layers = set(), {}
    for name, (shape, dtype) in shapes.items():
        parts = _TENSOR.fullmatch(name)
        if parts is None or parts["site"] != site or dtype not in {"F32", "F64"}:
            raise ValueError(f"{path} is damaged: tensor {name!r} of {dtype} does not hold scores of {site}")
        if len(shape) != 2 or shape[0] != len(tags):
            raise ValueError(f"{path} is damaged: {name} has shape {shape} for {len(tags)} tags")
        widths.add(shape[1])
        if parts["p"] is None:
            layers[int(parts["layer"])] = name
    if len(widths) != 1 or not layers:
        raise ValueError(f"{path} is damaged: its layers must have one width, got {sorted(widths)}")
    return ScoresFile(path, site, tuple(tags), widths.pop(), layers, facts.get("basis", NEURONS.name))
