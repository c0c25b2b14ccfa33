"""Where autoencoders and transcoders come from, and which place of a model each of them is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from keyneurons.basis.sae import Autoencoder, Autoencoders, Transcoders
from keyneurons.basis.sae_files import config_beside, read_autoencoder, tensors_in
from keyneurons.basis.sae_settings import CONFIGS, hooks_of
from keyneurons.records import Site

LAYER = "{layer}"
"""Stands for the number of the layer in ``basis.file``."""

HOOKS: Mapping[str, tuple[Site, int]] = {
    r"blocks\.([0-9]+)\.hook_resid_post": ("residual", 0),
    r"blocks\.([0-9]+)\.hook_resid_pre": ("residual", -1),  # the output of the block before
    r"blocks\.([0-9]+)\.mlp\.hook_post": ("mlp", 0),
    r"blocks\.([0-9]+)\.attn\.hook_z": ("attention", 0),
    r"blocks\.([0-9]+)\.(?:ln2\.hook_normalized|mlp\.hook_in)": ("mlp_in", 0),
    r"model\.layers\.([0-9]+)\.output": ("residual", 0),
    r"model\.layers\.([0-9]+)\.pre_feedforward_layernorm\.output": ("mlp_in", 0),
    r"model\.layers\.([0-9]+)\.self_attn\.o_proj\.input": ("attention", 0),
}
"""Sites by names of hooks in TransformerLens and Gemma Scope 2, with what to add to the layer."""

ALIASES = {"gpt2-small": "gpt2"}
"""Names of TransformerLens that differ from those on the hub."""


NORMALISED = re.compile(r"blocks\.[0-9]+\.ln2\.hook_normalized")
"""A hook before or after the gain of the norm: TransformerLens differs by model and version."""

OUTPUTS = re.compile(
    r"blocks\.([0-9]+)\.(?:hook_mlp_out|mlp\.hook_out)|model\.layers\.([0-9]+)\.post_feedforward_layernorm\.output"
)
"""Names of the output of the feed-forward block."""

Affine = tuple[Float[Tensor, " neurons"], Float[Tensor, " neurons"]]


@dataclass(frozen=True)
class Place:
    """Where autoencoders must be from: the id of the model, the site, and its width.

    ``norm`` returns the gain and the bias of the norm before the feed-forward block of a layer;
    ``norm_follows`` if another is applied to the output of the block.
    """

    model: str
    site: Site
    width: int
    norm: Callable[[int], Affine] | None = None
    norm_follows: bool = False


@dataclass(frozen=True)
class SAESource:
    """Files of autoencoders: local ones, or those of the repository ``id`` on the hub.

    ``file`` is a file or a folder with one; ``{layer}`` in it stands for the layer. With
    ``any_model``, the model in their settings may be another one. With ``transcoder``, they are
    transcoders, whose inputs have the ``gain`` of the norm before them or not; None for what the
    layout implies.
    """

    file: str
    id: str | None = None
    revision: str = "main"
    any_model: bool = False
    transcoder: bool = False
    gain: bool | None = None

    @property
    def kind(self) -> str:
        """What messages call the files."""
        return "a transcoder" if self.transcoder else "an autoencoder"

    def fetch(self, layers: Sequence[int], place: Place) -> Autoencoders:
        """Read the autoencoder of every layer.

        Raises:
            FileNotFoundError: a file is missing or cannot be fetched.
            ValueError: a file cannot be read, or is of another model, site, layer or width.
        """
        if len(layers) > 1 and LAYER not in self.file:
            raise ValueError(
                f"basis.file={self.file} is of one layer, but {len(layers)} layers are read; "
                f"put {LAYER} into its name, or choose one layer"
            )
        by_layer = {layer: self._of_layer(layer, place) for layer in layers}
        if len(latents := {own.latents for own in by_layer.values()}) > 1:
            raise ValueError(f"the autoencoders of all layers must have equally many latents, got {sorted(latents)}")
        return Transcoders(by_layer) if self.transcoder else Autoencoders(by_layer)

    def _of_layer(self, layer: int, place: Place) -> Autoencoder:
        file = self.file.replace(LAYER, str(layer))
        path, config = self._local(file) if self.id is None else self._fetched(self.id, file)
        own, settings = read_autoencoder(path, config, transcoder=self.transcoder)
        if own.width != place.width:
            raise ValueError(
                f"{path} is {self.kind} of {own.width} neurons, but the site {place.site} has {place.width}"
            )
        self._check_place(path, settings, layer, place)
        return own if place.norm is None or self._reads_gain(path, settings) else own.reading(*place.norm(layer))

    def _reads_gain(self, path: Path, settings: Mapping[str, Any]) -> bool:
        """Whether the inputs of a transcoder have the gain of the norm; Gemma Scope's do not.

        Raises:
            ValueError: the settings do not tell, and neither does ``gain``.
        """
        if self.gain is not None:
            return self.gain
        if NORMALISED.fullmatch(str(hooks_of(settings)[0])):
            raise ValueError(
                f"{path} is a transcoder of {hooks_of(settings)[0]}, which may be before or after the gain of the "
                "norm: basis.gain=false or true"
            )
        return bool(settings)

    def _check_place(self, path: Path, settings: Mapping[str, Any], layer: int, place: Place) -> None:
        """Check the model, the site and the layer that the settings name.

        Raises:
            ValueError: they are others.
        """
        model = settings.get("model_name")
        if isinstance(model, str) and not self.any_model and _short(model) != _short(place.model):
            raise ValueError(
                f"{path} is {self.kind} of the model {model}, this run reads {place.model}; "
                "basis.any_model=true allows this"
            )
        hook, output = hooks_of(settings)
        if self.transcoder:
            _check_output(path, output, layer, sparsify=bool(settings.get("transcode")), norm=place.norm_follows)
        if not isinstance(hook, str):
            return
        found = [(match, where) for name, where in HOOKS.items() if (match := re.fullmatch(name, hook))]
        if not found:
            raise ValueError(f"{path} is {self.kind} of {hook}, which is not a site of this program")
        match, (site, offset) = found[0]
        if (site, int(match[1]) + offset) != (place.site, layer):
            raise ValueError(
                f"{path} is {self.kind} of site={site} layer={int(match[1]) + offset} ({hook}), "
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


def _check_output(path: Path, output: Any, layer: int, *, sparsify: bool, norm: bool) -> None:
    """Check that a transcoder predicts what the feed-forward block adds to the residual stream.

    Raises:
        ValueError: it predicts something else.
    """
    found = None if output is None else OUTPUTS.fullmatch(str(output))
    if output is not None and (found is None or int(found[1] or found[2]) != layer):
        raise ValueError(f"{path} is a transcoder to {output}, not to the output of the feed-forward block {layer}")
    if norm and (sparsify or str(output).endswith(".mlp.hook_out")):
        raise ValueError(f"{path} is a transcoder to the output before the norm that follows in this model")


def _short(model: str) -> str:
    name = model.rpartition("/")[2].lower()
    return ALIASES.get(name, name)
