"""The command that says what a run will take before anything runs, from the model's config alone if need be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from keyneurons.activations.entry import BESIDE_AN_ARRAY, array_bytes
from keyneurons.activations.processes import Processes
from keyneurons.activations.reader import ActivationReader
from keyneurons.build.lesions import build_lesions
from keyneurons.build.reader import check_layers, check_model, reader_of
from keyneurons.build.selection import Method, build_attribution, build_method, build_selection
from keyneurons.choices import ReadAt
from keyneurons.config import schema
from keyneurons.plan.costs import Passes, Shape, forward_flops
from keyneurons.plan.machine import Machine
from keyneurons.plan.model import PlannedModel, weights_run
from keyneurons.plan.needs import Needs
from keyneurons.plan.report import GIGABYTE, Plan, SplitPlan, show_plan
from keyneurons.plan.speed import Speed, measure
from keyneurons.plan.text import PlannedText, planned_text
from keyneurons.records import SPLITS, Split
from keyneurons.report.phrases import describe_layers
from keyneurons.terminal import terminal

STREAMED: Mapping[Split, int] = {"train": 2, "dev": 1, "test": 1}
"""Passes over each split where nothing is stored: one for the scores, one for the probes."""

Missing = Mapping[tuple[ReadAt, Split], tuple[int, ...]]
"""By where words are read and split the layers that are not in the cache."""


def run_plan(overrides: Sequence[str], compose: Callable[[Sequence[str]], schema.Config]) -> None:
    """Plan a run and show the plan.

    Args:
        overrides: the overrides of the command line.
        compose: makes a checked configuration of overrides.
    """
    show_plan(make_plan(compose(overrides)), terminal())


def make_plan(config: schema.Config) -> Plan:
    """What a run of a configuration takes: disk, memory, operations and time.

    Args:
        config: the checked configuration.

    Returns:
        The plan.

    Raises:
        ValueError: the run would be refused.
        FileNotFoundError: the model's config is not here.
    """
    accelerator = config.trainer.model_dump().get("accelerator")
    planned = PlannedModel.of(config.model, config.cache.expanduser(), gpu_wanted=accelerator in {"gpu", "cuda"})
    read = reader_of(config, planned.model, Processes())
    method = build_method(config, config.selection.target.rpartition(".")[2])
    _check(config, planned, read, method)
    shape, text = planned.shape(), planned_text(config, read, planned.tokenizer)
    passes = {split: _passes(read, text, split) for split in SPLITS}
    missing = _missing(config, planned, read, text)
    splits = _splits(config, read, text, passes, missing)
    largest = Passes(*(max(getattr(p, name) for p in passes.values()) for name in Passes.__dataclass_fields__))
    machine = Machine.here(config.cache.expanduser())
    reads, asks = any(split.flops for split in splits), method.attribution is not None or config.lesion is not None
    needs = Needs(config, planned, read, shape, text, method, machine, largest, reads or asks, not asks)
    speed = Speed(None, "0: the cache has all")
    if reads:
        speed = measure(planned, read, text.encoded["train"], needs.fits)
    return Plan(
        f"{planned.model.files.id}, {config.site}, {describe_layers(read.layers)}, on {text.treebank.id}: "
        "what a run takes",
        (_model_told(planned, read, shape), f"text: {text.told}", *_cached_told(read, missing)),
        splits,
        needs.all(sum(split.cache_bytes for split in splits)),
        speed.flops_per_second,
        speed.told,
        tuple(_notes(config, method)),
    )


def _check(config: schema.Config, planned: PlannedModel, read: ActivationReader, method: Method) -> None:
    """Refuse what the run would refuse, as far as it can be told without weights, and without the GPUs asked for.

    Raises:
        ValueError: the run would be refused.
    """
    if _shared(config) and (config.model.device_map is not None or config.model.device != "auto"):
        raise ValueError(f"{_shared(config)} share the passes: they need model.device=auto and model.device_map=null")
    build_selection(config, method)
    build_attribution(config, method, read)
    check_model(config, read)
    if planned.tokenizer:
        check_layers(config, read)
        read.bos_id()
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
    """What each split costs, once for every place that its words are read at."""
    store, width = config.activations.store, read.model.width(read.site)
    again = 2 if config.split == "unseen_words" else 1
    run = functools.cache(functools.partial(weights_run, read.model, read.site))
    planned = []
    for (read_at, split), layers in missing.items():
        words, own = text.words(split), passes[split]
        flops = 0
        if layers:
            flops = forward_flops(run(layers), max(layers) + 1, read.model.width("attention"), own)
        of_array = array_bytes(words, width, read.dtype) + BESIDE_AN_ARRAY
        planned.append(
            SplitPlan(
                split if read_at == read.read_at else f"{split}, at the {read_at}",
                len(text.encoded[split]),
                words,
                text.tokens(split),
                own.tokens,
                own.batches,
                flops,
                1 if store else again * STREAMED[split],
                of_array * len(layers) if store else 0,
            )
        )
    return tuple(planned)


def _missing(config: schema.Config, planned: PlannedModel, read: ActivationReader, text: PlannedText) -> Missing:
    """The layers that the cache lacks; it can be asked only where all that it depends on is here."""
    known = config.activations.store and planned.weights and text.counted
    found: dict[tuple[ReadAt, Split], tuple[int, ...]] = {}
    for read_at in dict.fromkeys((read.read_at, *config.layer_by_layer.read_at)):
        for split in SPLITS:
            found[read_at, split] = read.layers
            if known:
                found[read_at, split] = replace(read, read_at=read_at).missing(text.treebank.splits[split])
    return found


def _model_told(planned: PlannedModel, read: ActivationReader, shape: Shape) -> str:
    model, absent = read.model, []
    if planned.asked.random_weights:
        absent.append("random weights")
    elif not planned.weights:
        absent.append("weights not here")
    if not planned.tokenizer:
        absent.append("tokenizer not here")
    deepest = max(read.layers) + 1
    return (
        f"model: {model.n_layers} blocks, {deepest} of them run; {shape.parameters / 1e9:.3f} billion parameters "
        f"without the head, {shape.weight_bytes / GIGABYTE:.2f} GB of weights in {model.dtype}"
        f"{''.join(f'; {what}' for what in absent)}"
    )


def _cached_told(read: ActivationReader, missing: Missing) -> list[str]:
    arrays, lacking = len(missing) * len(read.layers), sum(map(len, missing.values()))
    return [f"cache: {arrays - lacking} of {arrays} arrays are there already"] if lacking < arrays else []


def _notes(config: schema.Config, method: Method) -> Iterator[str]:
    yield "not in the time: tokenising, writing and checking the cache, which the disk decides"
    if config.activations.store:
        yield "not in the memory: pages of cache files, which the system takes back when it needs them"
    if shared := _shared(config):
        yield f"{shared} share the passes: the memory is that of one process, the time that of all together"
    if method.attribution is not None:
        yield "not counted: the passes of attribution (forward and back, with the head) and its arrays in the cache"
    if config.lesion is not None:
        yield "not counted: the passes under lesions, with the head"
    if config.layer_by_layer.concepts:
        yield "not counted: the concept directions of layer_by_layer.concepts"


def _shared(config: schema.Config) -> str:
    """The devices that share the passes, if there are several."""
    devices, nodes = config.activations.devices, config.activations.num_nodes
    if str(devices) == "1" and nodes == 1:
        return ""
    return f"{devices} devices" + (f" on each of {nodes} machines" if nodes > 1 else "")
