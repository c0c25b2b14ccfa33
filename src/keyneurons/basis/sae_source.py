"""Where sparse autoencoders come from, and which place of a model each of them is of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyneurons.basis.sae import Autoencoder, Autoencoders
from keyneurons.basis.sae_files import config_beside, read_autoencoder, tensors_in
from keyneurons.basis.sae_settings import CONFIGS
from keyneurons.records import Site

LAYER = "{layer}"
"""Stands for the number of the layer in ``basis.file``."""

HOOKS: Mapping[str, tuple[Site, int]] = {
    r"blocks\.([0-9]+)\.hook_resid_post": ("residual", 0),
    r"blocks\.([0-9]+)\.hook_resid_pre": ("residual", -1),  # the output of the block before
    r"blocks\.([0-9]+)\.mlp\.hook_post": ("mlp", 0),
    r"blocks\.([0-9]+)\.attn\.hook_z": ("attention", 0),
    r"model\.layers\.([0-9]+)\.output": ("residual", 0),
    r"model\.layers\.([0-9]+)\.self_attn\.o_proj\.input": ("attention", 0),
}
"""Sites by names of hooks in TransformerLens and Gemma Scope 2, with what to add to the layer."""

ALIASES = {"gpt2-small": "gpt2"}
"""Names of TransformerLens that differ from those on the hub."""


@dataclass(frozen=True)
class Place:
    """Where autoencoders must be from: the id of the model, the site, and its width."""

    model: str
    site: Site
    width: int


@dataclass(frozen=True)
class SAESource:
    """Files of autoencoders: local ones, or those of the repository ``id`` on the hub.

    ``file`` is a file or a folder with one; ``{layer}`` in it stands for the layer. With
    ``any_model``, the model in their settings may be another one.
    """

    file: str
    id: str | None = None
    revision: str = "main"
    any_model: bool = False

    def fetch(self, layers: Sequence[int], place: Place) -> Autoencoders:
        """Read the autoencoder of every layer.

        Raises:
            FileNotFoundError: a file is missing or cannot be fetched.
            ValueError: a file cannot be read, or is of another model, site, layer or width.
        """
        if len(layers) > 1 and LAYER not in self.file:
            raise ValueError(
                f"basis.file={self.file} is the autoencoder of one layer, but {len(layers)} layers are read; "
                f"put {LAYER} into its name, or choose one layer"
            )
        by_layer = {layer: self._of_layer(layer, place) for layer in layers}
        if len(latents := {own.latents for own in by_layer.values()}) > 1:
            raise ValueError(f"the autoencoders of all layers must have equally many latents, got {sorted(latents)}")
        return Autoencoders(by_layer)

    def _of_layer(self, layer: int, place: Place) -> Autoencoder:
        file = self.file.replace(LAYER, str(layer))
        path, config = self._local(file) if self.id is None else self._fetched(self.id, file)
        own, settings = read_autoencoder(path, config)
        if own.width != place.width:
            raise ValueError(
                f"{path} is an autoencoder of {own.width} neurons, but the site {place.site} has {place.width}"
            )
        self._check_place(path, settings, layer, place)
        return own

    def _check_place(self, path: Path, settings: Mapping[str, Any], layer: int, place: Place) -> None:
        """Check the model, the site and the layer that the settings name.

        Raises:
            ValueError: they are others.
        """
        model = settings.get("model_name")
        if isinstance(model, str) and not self.any_model and _short(model) != _short(place.model):
            raise ValueError(
                f"{path} is an autoencoder of the model {model}, this run reads {place.model}; "
                "basis.any_model=true allows this"
            )
        hook = settings.get("hook_name") or settings.get("hf_hook_point_in")
        if not isinstance(hook, str):
            return
        found = [(match, where) for name, where in HOOKS.items() if (match := re.fullmatch(name, hook))]
        if not found:
            raise ValueError(f"{path} is an autoencoder of {hook}, which is not a site of this program")
        match, (site, offset) = found[0]
        if (site, int(match[1]) + offset) != (place.site, layer):
            raise ValueError(
                f"{path} is an autoencoder of site={site} layer={int(match[1]) + offset} ({hook}), "
                f"this run reads site={place.site} layer={layer}"
            )

    def _local(self, file: str) -> tuple[Path, Path | None]:
        path = Path(file).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"basis.file: {path}: no such file")
        path = tensors_in(path) if path.is_dir() else path
        return path, config_beside(path)

    def _fetched(self, repository: str, file: str) -> tuple[Path, Path | None]:
        """Files of the hub, from its local cache if present.

        Raises:
            FileNotFoundError: they are not in the hub cache and cannot be downloaded.
        """
        from huggingface_hub import snapshot_download

        folder = f"{Path(file).parent}/".removeprefix("./")
        patterns = [file, *(f"{folder}{name}" for name in CONFIGS)]
        try:
            path = Path(snapshot_download(repository, revision=self.revision, allow_patterns=patterns)) / file
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise FileNotFoundError(
                f"{file} of {repository} (revision {self.revision}) is not in the hub cache and cannot be fetched: "
                f"{reason}"
            ) from error
        if not path.is_file():
            raise FileNotFoundError(f"{repository} (revision {self.revision}) has no file {file}")
        return path, config_beside(path)


def _short(model: str) -> str:
    name = model.rpartition("/")[2].lower()
    return ALIASES.get(name, name)
