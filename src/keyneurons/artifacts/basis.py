"""``basis.safetensors``: the principal components that a run has fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from keyneurons.atomic_files import check_regular, write_tensors
from keyneurons.basis.linear import Directions, Linear
from keyneurons.basis.pca import pca
from keyneurons.records import Site

BASIS_FILE = "basis.safetensors"
FORMAT = "1"


def write_components(path: Path, components: Linear, site: Site) -> None:
    """Write the components of every layer, one in each column, and the means of the neurons."""
    tensors: dict[str, Tensor] = {}
    for layer, own in components.by_layer.items():
        tensors |= {f"axes.{layer}": own.axes.contiguous(), f"centre.{layer}": own.centre.contiguous()}
    write_tensors(path, tensors, {"format": FORMAT, "basis": components.name, "site": site})


def read_components(path: Path, site: Site, width: int, layers: Sequence[int]) -> Linear:
    """Read the components of some layers.

    Args:
        path: the file, or the folder of a run.
        site: the site that they must be of.
        width: number of neurons of a layer.
        layers: layers that they must have; others are read as well.

    Raises:
        ValueError: the file is missing or damaged, or is of another site, width or layers.
    """
    path = path / BASIS_FILE if path.is_dir() else path
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (facts["format"], facts["basis"]) != (FORMAT, "pca"):
            raise ValueError(f"it has format {facts['format']} of {facts['basis']}, expected {FORMAT} of pca")
        numbers = sorted(int(name.removeprefix("axes.")) for name in tensors if name.startswith("axes."))
        by_layer = {i: Directions(tensors[f"axes.{i}"], tensors[f"centre.{i}"]) for i in numbers}
        finite = all(tensor.isfinite().all() for tensor in tensors.values())
        if not finite or any(own.axes.shape != (len(own.centre),) * 2 for own in by_layer.values()):
            raise ValueError("axes must be square, and all values finite")
        [found_width] = {len(own.centre) for own in by_layer.values()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as components of basis=pca: {error}") from error
    if (facts["site"], found_width) != (site, width):
        raise ValueError(
            f"{path} has components of {facts['site']} ({found_width} neurons), this run reads {site} ({width})"
        )
    if missing := sorted(set(layers) - by_layer.keys()):
        raise ValueError(f"{path} has components of layers {numbers}, but not of layer {missing[0]}")
    return pca(by_layer)
