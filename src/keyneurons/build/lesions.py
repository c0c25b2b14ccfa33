"""The lesion study of a configuration."""

from __future__ import annotations

from pathlib import Path

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.neuron_sets import other_revision, read_neuron_sets
from keyneurons.build.neuron_sets import key_neurons_file
from keyneurons.config import schema
from keyneurons.data.minimal_pairs import MinimalPair, packaged_minimal_pairs, read_minimal_pairs
from keyneurons.data.prompts import read_prompts
from keyneurons.lesion.generation import Generation, Sampling
from keyneurons.lesion.modes import Lesion
from keyneurons.pipeline.lesions.plan import LesionStudy


def build_lesions(config: schema.Config, lesion: schema.Lesion, read: ActivationReader) -> LesionStudy:
    """Build the lesion study.

    Raises:
        ValueError: the model does not predict words, activations are not stored, or options do not
            fit the lesion mode.
    """
    if config.activations.store is not True:
        raise ValueError("lesions need stored activations: activations.store=true")
    read.model.check_causal()
    read.model.needs_head = True
    options = {name: getattr(lesion, name) for name in schema.Lesion.model_fields}
    lowest, n_layers = min(read.layers), read.model.n_layers
    if outside := [layer for layer in lesion.later_layers if not lowest < layer < n_layers]:
        raise ValueError(
            f"lesion.later_layers must lie above layer {lowest}, the lowest lesioned layer, and below {n_layers}, "
            f"got {outside[0]}"
        )
    mode = Lesion(*(options.pop(name) for name in ("mode", "factor", "to")))
    pairs = _pairs(options.pop("pairs"), options.pop("pair_languages"))
    prompts, new_tokens, temperature = (options.pop(name) for name in ("prompts", "new_tokens", "temperature"))
    generation = None
    if prompts is not None:
        if mode.needs_donors:
            raise ValueError(f"lesion.prompts is not supported with mode={mode.mode}")
        generation = Generation(read_prompts(prompts), Sampling(new_tokens, temperature), config.seed)
    sets, revision = None, None
    if (neurons := options.pop("neurons")) is not None:
        path = key_neurons_file(neurons, config.tracking)
        sets = read_neuron_sets(path, read, config.dataset.tag_column, any_revision=True)
        revision = other_revision(path, read)
    tokens = read.batch_tokens
    return LesionStudy(
        mode,
        alpha=config.threshold.alpha,
        batch_tokens=max(1, tokens // 4),
        pass_tokens=4 * tokens,
        neurons=sets,
        neurons_revision=revision,
        pairs=pairs,
        generation=generation,
        **options,
    )


def _pairs(source: str | Path | None, languages: tuple[str, ...] | None) -> tuple[MinimalPair, ...]:
    """The minimal pairs of some languages.

    Raises:
        ValueError: languages are given without pairs, or the pairs cannot be read.
    """
    if source is None:
        if languages is not None:
            raise ValueError("lesion.pair_languages needs lesion.pairs")
        return ()
    if source == "packaged":
        return packaged_minimal_pairs(languages)
    return read_minimal_pairs(Path(source).expanduser(), languages)
