"""The experiment of a configuration."""

from __future__ import annotations

from keyneurons.build.dataset import build_dataset
from keyneurons.build.figures import build_figures
from keyneurons.build.lesions import build_lesions
from keyneurons.build.probing import build_probing
from keyneurons.build.reader import build_reader, check_layers, check_model
from keyneurons.build.selection import build_attribution, build_method, build_selection, check_basis, check_selection
from keyneurons.config import schema
from keyneurons.memo import Memo
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.layers import LayerChecks
from keyneurons.pipeline.reliability import Checks
from keyneurons.pipeline.unseen_words import UnseenWords
from keyneurons.pipeline.worth import SizeCurves


def build_experiment(config: schema.Config, option: str, memo: Memo | None = None) -> Experiment:
    """Build an experiment; the model's files are fetched, but its weights are not loaded.

    Args:
        config: the validated configuration.
        option: name of the selection option, for the records.
        memo: cache shared by the jobs of a process; None makes a new one.

    Returns:
        The experiment.

    Raises:
        ValueError: the configuration does not fit the model.
        FileNotFoundError: the model's files are missing and cannot be fetched.
    """
    method = build_method(config, option)
    check_selection(config, method)
    build_figures(config.report)  # checks the stylesheet before the run
    probing = build_probing(config)
    read = build_reader(config)  # may convert or fetch a model, so after what is cheap to check
    check_model(config, read)
    check_basis(read, method)
    check_layers(config, read)
    unseen_words = config.split == "unseen_words"
    return Experiment(
        dataset=build_dataset(config.dataset, config.cache.expanduser(), config.seed),
        read=read,
        store=config.activations.store,
        sample_words=config.sample_words,
        attribute=build_attribution(config, method, read),
        selection=build_selection(config, method, read, memo),
        method=method.name,
        checks=Checks(**dict(config.reliability)),
        probing=probing,
        curves=SizeCurves(**dict(config.worth)),
        unseen=UnseenWords(config.unseen_share, config.dataset.min_words_per_tag) if unseen_words else None,
        layers=LayerChecks(**dict(config.layer_by_layer)),
        lesions=None if config.lesion is None else build_lesions(config, config.lesion, read),
        seed=config.seed,
    )
