"""From a checked configuration to the objects of an experiment: the only place that instantiates."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from keyneurons.activations.processes import Processes
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.artifacts.neuron_sets import read_neuron_sets
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.paths import JointPath
from keyneurons.attribution.reader import AttributionReader
from keyneurons.config import schema
from keyneurons.config.values import resolve_layers
from keyneurons.data.ewt import UDEnglishEWT
from keyneurons.data.minimal_pairs import MinimalPair, packaged_minimal_pairs, read_minimal_pairs
from keyneurons.data.raw_text import RawText
from keyneurons.data.sources import ConlluFiles, Starter, TreebankSource
from keyneurons.lesion.generation import Generation, read_prompts
from keyneurons.lesion.modes import Lesion
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import HubModel, LocalModel, ModelSource, PackagedSmolLM2
from keyneurons.pipeline.dataset import Dataset
from keyneurons.pipeline.experiment import Experiment
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.pipeline.layers import LayerChecks
from keyneurons.pipeline.lesions.plan import LesionStudy
from keyneurons.pipeline.reliability import Checks
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.frequency import Frequency
from keyneurons.selection.moments import MomentScorer
from keyneurons.selection.rules import Rule
from keyneurons.selection.scorer import NeuronScorer, SignificantScorer
from keyneurons.tracking import Store

if TYPE_CHECKING:
    from lightning import Trainer


def build_experiment(config: schema.Config, method: str) -> Experiment:
    """Make everything that a run needs; the model's files are fetched, its weights not yet loaded.

    Args:
        config: the checked configuration.
        method: name of the selection method, for the records.

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
    _trainer(config.trainer)  # refused now, not after a pass over the text
    return Experiment(
        dataset=build_dataset(config.dataset, config.cache.expanduser(), config.seed),
        read=read,
        store=config.activations.store,
        attribute=build_attribution(config, component, read),
        selection=selection,
        method=method,
        checks=Checks(**dict(config.reliability)),
        unseen_share=config.unseen_share if config.split == "unseen_words" else None,
        probe=_probe_settings(config.probe),
        trainer=partial(_trainer, config.trainer),
        random_sets=config.controls.random_sets,
        own_random_sets=config.controls.own_random_sets,
        all_neurons=config.controls.all_neurons,
        layers=LayerChecks(**dict(config.layer_by_layer)),
        lesions=None if config.lesion is None else build_lesions(config, config.lesion, read),
        seed=config.seed,
    )


def build_selection(config: schema.Config, component: NeuronScorer | Attribution, method: str) -> Selection:
    """How key neurons are selected.

    Raises:
        ValueError: the method does not go with the threshold, or with activations that are not stored.
    """
    if isinstance(component, Bottom) and isinstance(component.of, Attribution):
        raise ValueError("selection=bottom turns round methods that score activations, not attributions")
    scorer = component.scorer if isinstance(component, Attribution) else component
    if config.threshold == "permutation" and isinstance(scorer, Frequency):
        raise ValueError(
            f"threshold=permutation asks for more than a neuron frequent by chance for any tag; selection={method} has "
            "a test of its own: threshold=fdr"
        )
    if config.threshold == "fdr" and not isinstance(scorer, SignificantScorer):
        raise ValueError(f"threshold=fdr needs p-values, which selection={method} has not; use threshold=permutation")
    if config.threshold == "permutation" and config.permutations < (least := math.ceil(1 / config.alpha) - 1):
        raise ValueError(f"permutations must be at least {least} for alpha={config.alpha}, got {config.permutations}")
    if not config.activations.store:
        _check_streaming(config, scorer, method)
    rule = Rule(config.top_k, config.scope, config.sign, config.threshold, config.alpha, config.mass)
    memory = config.activations.memory_mb * 2**20
    return Selection(scorer, rule, config.permutations, config.permute, memory, config.seed)


def build_attribution(
    config: schema.Config, component: NeuronScorer | Attribution, read: ActivationReader
) -> AttributionReader | None:
    """What attributes words to neurons, if neurons are selected by that.

    Raises:
        ValueError: the model does not predict words, or the method does not go with the site or without a store.
    """
    if not isinstance(component, Attribution):
        return None
    if isinstance(component.along, JointPath) and config.site == "residual" and len(read.layers) > 1:
        raise ValueError("path=joint cannot scale the residual stream of several layers; use path=layer")
    if component.baseline == "mean" and not config.activations.store:
        raise ValueError("selection.baseline=mean needs activations.store=true")
    memory = config.activations.memory_mb * 2**20
    reader = AttributionReader(replace(read, read_at="prediction"), component, memory)
    if read.model.family.norm is None:
        raise ValueError("attribution needs the path of the model's last norm: model.modules.norm")
    read.model.needs_head = True
    return reader


def build_lesions(config: schema.Config, lesion: schema.Lesion, read: ActivationReader) -> LesionStudy:
    """What is lesioned how.

    Raises:
        ValueError: the model does not predict words, activations are not stored, or a mode lacks what it needs.
    """
    if not config.activations.store:
        raise ValueError("lesions are matched by stored activations: activations.store=true")
    if not read.model.family.causal:
        raise ValueError(f"{read.model.files.id} ({read.model.config.model_type}) does not predict the next token")
    read.model.needs_head = True
    given = {name: getattr(lesion, name) for name in schema.Lesion.model_fields}
    lowest, n_layers = min(read.layers), read.model.n_layers
    if outside := [layer for layer in lesion.later_layers if not lowest < layer < n_layers]:
        raise ValueError(
            f"lesion.later_layers must lie above layer {lowest}, the lowest lesioned, and below {n_layers}, "
            f"got {outside[0]}"
        )
    mode, factor, to = (given.pop(name) for name in ("mode", "factor", "to"))
    pairs: tuple[MinimalPair, ...] = ()
    if (source := given.pop("pairs")) is not None:
        pairs = packaged_minimal_pairs() if source == "packaged" else read_minimal_pairs(Path(source).expanduser())
    prompts, new_tokens, temperature = (given.pop(name) for name in ("prompts", "new_tokens", "temperature"))
    generation = None
    if prompts is not None:
        if mode == "resample":
            raise ValueError("lesion.prompts goes with modes that are the same at every position, not with resample")
        texts = read_prompts(prompts.expanduser())
        generation = Generation(texts, new_tokens, temperature, config.seed)
    sets = None
    if (neurons := given.pop("neurons")) is not None:
        path = Path(neurons).expanduser()
        found = path if path.is_file() else build_store(config.tracking).artifact(str(neurons), "key_neurons.json")
        sets = read_neuron_sets(found, read, config.dataset.tag_column)
    tokens = config.activations.batch_tokens
    return LesionStudy(
        Lesion(mode, factor, to),
        alpha=config.alpha,
        batch_tokens=max(1, tokens // 4),
        pass_tokens=4 * tokens,
        neurons=sets,
        pairs=pairs,
        generation=generation,
        **given,
    )


def _check_streaming(config: schema.Config, scorer: NeuronScorer, method: str) -> None:
    """Refuse what cannot be had from one pass over the text.

    Raises:
        ValueError: it is asked for.
    """
    if not isinstance(scorer, MomentScorer):
        raise ValueError(f"activations.store=false goes with methods that need sums only, not selection={method}")
    needed = {
        "threshold=fdr or none": config.threshold != "permutation",
        "controls.all_neurons=false": not config.controls.all_neurons,
        "reliability.halves=0": config.reliability.halves == 0,
        "reliability.bootstraps=0": config.reliability.bootstraps == 0,
        "layer_by_layer.read_at=[]": not config.layer_by_layer.read_at,
    }
    if missing := [override for override, given in needed.items() if not given]:
        raise ValueError(f"activations.store=false also needs {', '.join(missing)}")


def build_reader(config: schema.Config) -> ActivationReader:
    """The reader of activations, bound to a model whose files are here."""
    cache = config.cache.expanduser()
    m = config.model
    model = LanguageModel(
        build_model_source(m, cache).fetch(),
        dtype=m.dtype,
        device=m.device,
        device_map=m.device_map,
        random_weights=m.random_weights,
        modules=m.modules,
    )
    return ActivationReader(
        model=model,
        store=ActivationStore(cache / "activations"),
        site=config.site,
        layers=resolve_layers(config.layer, model.n_layers),
        bos=m.bos,
        read_at=config.read_at,
        pooling=config.pooling,
        batch_tokens=config.activations.batch_tokens,
        dtype=config.activations.dtype,
        processes=build_processes(config),
    )


def build_processes(config: schema.Config) -> Processes:
    """Who shares the passes over the text.

    Raises:
        ValueError: there are no such devices, or the model is to be on one of its own, or spread over several.
    """
    asked = config.trainer.model_dump()
    devices, n_nodes = asked.get("devices", 1), int(asked.get("num_nodes") or 1)
    processes = Processes(str(asked.get("accelerator", "auto")), devices, n_nodes)
    if processes.number > 1 and (config.model.device_map is not None or config.model.device != "auto"):
        raise ValueError(
            f"trainer.devices={devices} gives each of several processes a device and the whole model: it needs "
            "model.device=auto and model.device_map=null"
        )
    return processes


def build_model_source(model: schema.Model, cache: Path) -> ModelSource:
    """Where the model comes from."""
    if isinstance(model, schema.HubModel):
        return HubModel(model.id, model.revision)
    if isinstance(model, schema.LocalModel):
        return LocalModel(model.folder, cache)
    return PackagedSmolLM2(cache)


def build_dataset(dataset: schema.Dataset, cache: Path, seed: int) -> Dataset:
    """The treebank and what is asked of it."""
    asked = {name: getattr(dataset, name) for name in schema.Dataset.model_fields}
    return Dataset(source=_treebank_source(dataset, cache, seed), **asked)


def build_store(tracking: schema.Tracking) -> Store:
    """Where the runs go."""
    return Store(tracking.uri, tracking.artifacts, tracking.experiment)


def check_model(config: schema.Config, read: ActivationReader) -> None:
    """Refuse more key neurons than there are, an unknown architecture, and a device that is not here.

    Raises:
        ValueError: one of these.
    """
    _ = read.model.family, read.model.device
    width = read.model.width(config.site)
    pool = width if config.scope == "layer" else width * len(read.layers)
    if config.top_k > pool:
        where = f"{config.site} of one layer" if config.scope == "layer" else f"{config.site} of these layers"
        raise ValueError(f"top_k must lie in 1..{pool} (the neurons of {where}), got {config.top_k}")


def check_layers(config: schema.Config, read: ActivationReader) -> None:
    """Refuse readings of the layers by themselves that the model does not allow.

    Raises:
        ValueError: it does not predict, or nothing is in front of the first word.
    """
    for read_at in config.layer_by_layer.read_at:
        replace(read, read_at=read_at)
        if read_at == "prediction" and read.bos_id() is None:
            raise ValueError("layer_by_layer.read_at=[prediction] needs a token in front of the first word: model.bos")


def _treebank_source(dataset: schema.Dataset, cache: Path, seed: int) -> TreebankSource:
    own = {
        name: getattr(dataset, name) for name in type(dataset).model_fields if name not in schema.Dataset.model_fields
    }
    kind = own.pop("kind")
    if kind == "conllu":
        return ConlluFiles(**own, seed=seed)
    if kind == "ud_english_ewt":
        return UDEnglishEWT(**own, cache=cache)
    if kind == "text":
        return RawText(**own, cache=cache, seed=seed)
    return Starter()


def _probe_settings(probe: schema.Probe) -> Any:
    """How probes are trained, tried on one parameter: a wrong learning rate is refused now.

    Raises:
        ValueError: the optimizer does not take its arguments.
    """
    import torch

    from keyneurons.probe.fit import ProbeSettings

    values = {name: getattr(probe, name) for name in schema.Probe.model_fields}
    optimizer = instantiated("probe.optimizer", probe.optimizer)
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise ValueError(f"probe.optimizer: {error}") from error
    return ProbeSettings(**{**values, "optimizer": optimizer})


def _trainer(component: schema.Trainer) -> Trainer:
    """A new trainer of one device: several are for passes over the text, a probe is too small to share.

    Raises:
        ValueError: this machine lacks the accelerator, or the arguments do not fit.
    """
    import lightning.pytorch  # noqa: F401 (sets the level of its log, so before it is made quiet)

    from keyneurons.quiet import quiet_lightning

    try:
        with quiet_lightning():
            alone = component.model_copy(update={"devices": 1, "num_nodes": 1})
            trainer: Trainer = instantiated("trainer", alone)
    except ValueError as error:
        raise ValueError(f"{error} (trainer is auto, cpu, or gpu where there is one)") from error
    return trainer


def instantiated(key: str, component: schema.Component) -> Any:
    """Make a swappable component.

    Raises:
        ValueError: its signature or its own checks refuse the arguments; named by its key.
    """
    try:
        return instantiate(component.model_dump(by_alias=True))
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise ValueError(f"{key}: {' '.join(str(cause).split())}") from error
