"""Transfer between the languages of finished runs, from their cached activations."""

from __future__ import annotations

from collections.abc import Mapping

from keyneurons.analysis.languages import TagPair, shared_with
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.build.probing import build_training
from keyneurons.build.selection import build_method, build_selection
from keyneurons.pipeline.activations import read_activations
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.pipeline.script_neurons import SCRIPT, script_neurons
from keyneurons.pipeline.transfer import LanguageText, Transfer, measure_transfer
from keyneurons.runs.finished import Run
from keyneurons.runs.reload import Rebuilt, rebuilt


def transfer_between(runs: Mapping[str, Run]) -> tuple[Transfer, tuple[TagPair, ...]]:
    """Test the probe of every language on all others, and compare its sets with those of script.

    Model and text are read again only where activations are not in the cache.

    Args:
        runs: A finished run of each language, of the same model, site and layers; settings of
            probes and selection are those of the first.

    Returns:
        The transfer; and the set of every language and tag beside the neurons of script, empty if
        all words are of one script or the neurons were not selected by their activations.

    Raises:
        ValueError: If the model or the data of a run cannot be reloaded, or the languages have too
            few tags in common.
    """
    configs = {name: run.config() for name, run in runs.items()}
    loaded = {name: rebuilt(run, configs[name]) for name, run in runs.items()}
    texts = [_text(name, own, configs[name].activations.store is True) for name, own in loaded.items()]
    config = next(iter(configs.values()))
    transfer = measure_transfer(texts, build_training(config), resamples=config.intervals.resamples, seed=config.seed)
    first = next(iter(loaded.values()))
    method = build_method(config, first.run.params.get("choice.selection", ""))
    selection = build_selection(config, method, first.read)
    if method.attribution is not None or not isinstance(selection, Selection):
        return transfer, ()
    of_script = script_neurons(texts, selection)
    if of_script is None:
        return transfer, ()
    neurons = {(n.layer, n.neuron): n for own in of_script.tags.values() for n in own}
    return transfer, shared_with({text.name: text.sets for text in texts}, list(neurons.values()), SCRIPT)


def _text(name: str, own: Rebuilt, stored: bool) -> LanguageText:
    if not stored:
        raise ValueError(f"transfer needs stored activations (activations.store=true), which run {own.run.id} lacks")
    activations = read_activations(own.read, own.treebank, store=True)
    return LanguageText(name, own.treebank, own.labels, activations, sets_in(own.key)[1])
