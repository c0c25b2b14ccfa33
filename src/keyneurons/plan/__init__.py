"""Planning a run: disk, memory, operations and time, if need be from the model's config alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from keyneurons.activations.entry import MANIFEST_BYTES, array_bytes
from keyneurons.activations.processes import Processes
from keyneurons.activations.reader import ActivationReader
from keyneurons.attribution.ablation import AblationEffect
from keyneurons.basis.sae import Autoencoders
from keyneurons.basis.sparse import BYTES_BY_VALUE
from keyneurons.build.lesions import build_lesions
from keyneurons.build.reader import check_layers, check_model, make_reader
from keyneurons.build.selection import (
    Method,
    build_attribution,
    build_method,
    build_selection,
    check_basis,
    check_selection,
)
from keyneurons.choices import ReadAt
from keyneurons.config import schema
from keyneurons.models.permuted import describe_weights
from keyneurons.plan.ablation import describe_ablation
from keyneurons.plan.costs import Passes, Shape, forward_flops
from keyneurons.plan.lesions import describe_lesions
from keyneurons.plan.machine import Machine
from keyneurons.plan.model import PlannedModel, weights_run
from keyneurons.plan.needs import Needs
from keyneurons.plan.planned_run import gigabytes
from keyneurons.plan.report import GIGABYTE, Plan, SplitPlan, show_plan
from keyneurons.plan.speed import Speed, measure
from keyneurons.plan.text import PlannedText, planned_text
from keyneurons.plan.work import work_after_passes
from keyneurons.records import SPLITS, Split
from keyneurons.report.phrases import describe_place
from keyneurons.terminal import terminal

STREAMED: Mapping[Split, int] = {"train": 2, "dev": 1, "test": 1}
"""Passes over each split with store=moments: one for the moments, one for the probed columns."""

TYPICALLY_ACTIVE = 100  # latents of an autoencoder without top-k on a word

Missing = Mapping[tuple[ReadAt, Split], tuple[int, ...]]
"""Layers that are not in the cache, by reading position and split."""


def run_plan(overrides: Sequence[str], compose: Callable[[Sequence[str]], schema.Config]) -> None:
    """Plan a run and show the plan.

    Args:
        overrides: the overrides of the command line.
        compose: composes and validates a configuration from overrides.
    """
    show_plan(make_plan(compose(overrides)), terminal())


def make_plan(config: schema.Config) -> Plan:
    """Plan a run: disk, memory, operations and time.

    Args:
        config: the validated configuration.

    Returns:
        The plan.

    Raises:
        ValueError: the run would raise it.
        FileNotFoundError: the model's config is missing and cannot be fetched.
    """
    gpu_wanted = config.trainer.model_dump().get("accelerator") in {"gpu", "cuda"}
    planned = PlannedModel.of(config.model, config.cache.expanduser(), gpu_wanted=gpu_wanted)
    read = make_reader(config, planned.model, Processes())
    method = build_method(config, config.selection.target.rpartition(".")[2])
    _check(config, planned, read, method)
    shape, text = planned.shape(), planned_text(config, read, planned.tokenizer)
    passes = {split: _passes(read, text, split) for split in SPLITS}
    missing = _missing(config, planned, read, text)
    splits = _splits(config, read, text, passes, missing)
    largest = Passes(*(max(getattr(p, name) for p in passes.values()) for name in Passes.__dataclass_fields__))
    machine = Machine.current(config.cache.expanduser())
    has_devices = bool(machine.gpus) or not (planned.on_gpu or gpu_wanted)
    extracts = any(split.flops for split in splits)
    predicts = method.attribution is not None or config.lesion is not None
    needs = Needs(config, planned, read, shape, text, method, machine, largest, extracts or predicts, not predicts)
    speed = Speed(None, "0: all activations are cached")
    ablates = isinstance(method.attribution, AblationEffect)
    if extracts or ablates or config.lesion is not None:
        speed = measure(planned, read, needs.fits)
    return Plan(
        f"Plan of a run: {planned.model.files.id}, {describe_place(read.site, read.layers, read.basis.name)}, "
        f"{text.treebank.id}",
        (_describe_model(planned, read, shape), f"text: {text.description}", *_describe_cache(read, missing)),
        splits,
        needs.all(sum(split.cache_bytes for split in splits)),
        speed.flops_per_second,
        speed.description,
        work_after_passes(config, method, needs.sizes, text.labelled["train"], timed=has_devices),
        (*_lesions(config, read, method, text, shape, speed), *_notes(config, method, read, text)),
    )


def _check(config: schema.Config, planned: PlannedModel, read: ActivationReader, method: Method) -> None:
    """Make the checks of a run that need neither weights nor the requested GPUs.

    Raises:
        ValueError: the run would raise it.
    """
    if _shared(config) and (config.model.device_map is not None or config.model.device != "auto"):
        raise ValueError(f"{_shared(config)} share the passes; set model.device=auto and model.device_map=null")
    check_selection(config, method)
    build_attribution(config, method, read)
    check_model(config, read)
    check_basis(read, method)
    if planned.tokenizer:
        check_layers(config, read)
        read.bos_id()
    if planned.tokenizer and planned.weights:
        build_selection(config, method, read)
    if config.lesion is not None and planned.weights:
        build_lesions(config, config.lesion, read)
    read.model.check_weights()


def _passes(read: ActivationReader, text: PlannedText, split: Split) -> Passes:
    lengths = [len(e.ids) for e in text.encoded[split]]
    words = [len(e.reads) for e in text.encoded[split]]
    return Passes.of(read.batches(text.encoded[split]), lengths, words)


def _splits(
    config: schema.Config, read: ActivationReader, text: PlannedText, passes: Mapping[Split, Passes], missing: Missing
) -> tuple[SplitPlan, ...]:
    """The cost of each split at each reading position."""
    store, width = config.activations.store is True, read.model.width(read.site)
    n_splits = 2 if config.split == "unseen_words" else 1
    run = functools.cache(functools.partial(weights_run, read.model, read.site))
    planned = []
    for (read_at, split), layers in missing.items():
        words, own = text.words(split), passes[split]
        flops = 0
        if layers:
            flops = forward_flops(run(layers), max(layers) + 1, read.model.width("attention"), own)
        bytes_per_layer = array_bytes(words, width, read.dtype) + MANIFEST_BYTES
        planned.append(
            SplitPlan(
                split if read_at == read.read_at else f"{split}, at the {read_at}",
                len(text.encoded[split]),
                words,
                text.tokens(split),
                own.tokens,
                own.batches,
                flops,
                1 if store else n_splits * STREAMED[split],
                bytes_per_layer * len(layers) if store else 0,
            )
        )
    return tuple(planned)


def _missing(config: schema.Config, planned: PlannedModel, read: ActivationReader, text: PlannedText) -> Missing:
    """The layers that the cache lacks: all if the cache key needs files that are missing."""
    has_key = config.activations.store is True and planned.weights and text.counted
    missing: dict[tuple[ReadAt, Split], tuple[int, ...]] = {}
    for read_at in dict.fromkeys((read.read_at, *config.layer_by_layer.read_at)):
        for split in SPLITS:
            missing[read_at, split] = read.layers
            if has_key:
                missing[read_at, split] = replace(read, read_at=read_at).missing(text.treebank.splits[split])
    return missing


def _describe_model(planned: PlannedModel, read: ActivationReader, shape: Shape) -> str:
    model, notes = read.model, []
    if model.random_weights is not None:
        notes.append(describe_weights(model.random_weights))
    if not planned.weights:
        notes.append("no local weights")
    if not planned.tokenizer:
        notes.append("no local tokenizer")
    deepest = max(read.layers) + 1
    return (
        f"model: {deepest} of {model.n_layers} blocks run; {shape.parameters / 1e9:.3f} billion parameters "
        f"without the head, {shape.weight_bytes / GIGABYTE:.2f} GB of weights in {model.dtype}"
        f"{''.join(f'; {note}' for note in notes)}"
    )


def _describe_cache(read: ActivationReader, missing: Missing) -> list[str]:
    n_arrays, n_missing = len(missing) * len(read.layers), sum(map(len, missing.values()))
    return [f"cache: {n_arrays - n_missing} of {n_arrays} arrays are cached"] if n_missing < n_arrays else []


def _lesions(
    config: schema.Config, read: ActivationReader, method: Method, text: PlannedText, shape: Shape, speed: Speed
) -> Iterator[str]:
    if isinstance(method.attribution, AblationEffect):
        yield describe_ablation(method.attribution, read, text.n_tags, shape, speed)
    if config.lesion is not None:
        yield describe_lesions(config.lesion, read, text, shape, speed)


def _notes(config: schema.Config, method: Method, read: ActivationReader, text: PlannedText) -> Iterator[str]:
    yield "time excludes imports, reading the text, figures, and writing and checking the cache"
    if config.activations.store is True:
        words = sum(text.words(split) for split in SPLITS)
        pages = gigabytes(array_bytes(words, read.model.width(read.site), read.dtype) * len(read.layers))
        yield f"memory excludes up to {pages} of cached file pages, which the system reclaims when needed"
    if isinstance(read.basis, Autoencoders):
        words = sum(text.words(split) for split in SPLITS)
        active = read.basis.most_active or TYPICALLY_ACTIVE
        size = gigabytes(2 * BYTES_BY_VALUE * active * words * len(read.layers))
        how = "" if read.basis.most_active else f" if {TYPICALLY_ACTIVE} are active on a word"
        yield f"memory excludes latents that are not 0, {size}{how}; time excludes their encoding"
    if shared := _shared(config):
        yield f"{shared} share the passes: memory is per process, time is for all devices together"
    if method.attribution is not None and not isinstance(method.attribution, AblationEffect):
        yield "not planned: attribution passes (forward and backward, with the head) and their arrays in the cache"
    if config.layer_by_layer.concepts:
        yield "not planned: concept directions of layer_by_layer.concepts"


def _shared(config: schema.Config) -> str:
    """The devices that share the passes, or an empty string for a single device."""
    devices, nodes = config.activations.devices, config.activations.num_nodes
    if str(devices) == "1" and nodes == 1:
        return ""
    return f"{devices} devices" + (f" on each of {nodes} machines" if nodes > 1 else "")
