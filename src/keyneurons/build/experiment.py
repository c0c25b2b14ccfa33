"""All parts of an experiment together."""

from __future__ import annotations

from functools import partial

from keyneurons.build.components import build_probe_settings, build_trainer
from keyneurons.build.dataset import build_dataset
from keyneurons.build.lesions import build_lesions
from keyneurons.build.reader import build_reader, check_layers, check_model
from keyneurons.build.selection import build_attribution, build_method, build_selection
from keyneurons.config import schema
from keyneurons.memo import Memo
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.layers import LayerChecks
from keyneurons.pipeline.reliability import Checks


def build_experiment(config: schema.Config, option: str, memo: Memo | None = None) -> Experiment:
    """Make everything that a run needs; the model's files are fetched, its weights not yet loaded.

    Args:
        config: the checked configuration.
        option: the selection method by the name of its option, for the records.
        memo: keeps what other jobs of the process ask for again; a new one if it is None.

    Returns:
        The experiment.

    Raises:
        ValueError: the configuration asks for what the model does not have.
        FileNotFoundError: the model's files are not here and cannot be fetched.
    """
    read = build_reader(config)
    check_model(config, read)
    check_layers(config, read)
    method = build_method(config, option)
    selection = build_selection(config, method, memo)
    build_trainer(config.trainer)  # refused now, not after a pass over the text
    return Experiment(
        dataset=build_dataset(config.dataset, config.cache.expanduser(), config.seed),
        read=read,
        store=config.activations.store,
        attribute=build_attribution(config, method, read),
        selection=selection,
        method=method.name,
        checks=Checks(**dict(config.reliability)),
        unseen_share=config.unseen_share if config.split == "unseen_words" else None,
        probe=build_probe_settings(config.probe),
        trainer=partial(build_trainer, config.trainer),
        random_sets=config.controls.random_sets,
        own_random_sets=config.controls.own_random_sets,
        all_neurons=config.controls.all_neurons,
        layers=LayerChecks(**dict(config.layer_by_layer)),
        lesions=None if config.lesion is None else build_lesions(config, config.lesion, read),
        seed=config.seed,
    )
