"""All parts of an experiment together."""

from __future__ import annotations

from keyneurons.build.components import instantiated
from keyneurons.build.dataset import build_dataset
from keyneurons.build.lesions import build_lesions
from keyneurons.build.probing import build_probing
from keyneurons.build.reader import build_reader, check_layers, check_model
from keyneurons.build.selection import build_attribution, build_selection
from keyneurons.config import schema
from keyneurons.memo import Memo
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.layers import LayerChecks
from keyneurons.pipeline.reliability import Checks
from keyneurons.pipeline.unseen_words import UnseenWords


def build_experiment(config: schema.Config, method: str, memo: Memo | None = None) -> Experiment:
    """Make everything that a run needs; the model's files are fetched, its weights not yet loaded.

    Args:
        config: the checked configuration.
        method: name of the selection method, for the records.
        memo: keeps what runs in one process share; without one the run keeps its own.

    Returns:
        The experiment.

    Raises:
        ValueError: the configuration asks for what the model does not have.
        FileNotFoundError: the model's files are not here and cannot be fetched.
    """
    read = build_reader(config)
    check_model(config, read)
    check_layers(config, read)
    component = instantiated("selection", config.selection)
    selection = build_selection(config, component, method)
    apart = config.split == "unseen_words"
    return Experiment(
        dataset=build_dataset(config.dataset, config.cache.expanduser(), config.seed),
        read=read,
        store=config.activations.store,
        attribute=build_attribution(config, component, read),
        selection=selection,
        method=method,
        checks=Checks(**dict(config.reliability)),
        probing=build_probing(config, memo),
        unseen=UnseenWords(config.unseen_share, config.dataset.min_words_per_tag) if apart else None,
        layers=LayerChecks(**dict(config.layer_by_layer)),
        lesions=None if config.lesion is None else build_lesions(config, config.lesion, read),
        seed=config.seed,
    )
