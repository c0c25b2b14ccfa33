"""What a planned run needs of a machine, what the machine has, and which overrides make it need less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyneurons.activations.reader import ActivationReader
from keyneurons.build.probing import build_controls
from keyneurons.build.selection import Method, build_selection
from keyneurons.config import schema
from keyneurons.plan.costs import (
    ITEM_BYTES,
    Passes,
    Shape,
    batch_bytes,
    captured_bytes,
    moments_bytes,
    probe_bytes,
    probe_device_bytes,
    read_bytes,
    side_by_side_bytes,
)
from keyneurons.plan.machine import Machine
from keyneurons.plan.model import PlannedModel
from keyneurons.plan.report import GIGABYTE, Need
from keyneurons.plan.text import PlannedText
from keyneurons.selection.moments import VALUES_AT_ONCE

ROOM = 0.9  # of what is free, for a calibration: the machine may be needed for other things

PROCESS_BYTES = 700_000_000
"""Python with torch, transformers, Lightning and the text, measured."""


@dataclass(frozen=True)
class Needs:
    """A planned run, whose needs are computed one by one.

    ``largest`` is the split with the largest batches; ``loaded`` says whether the model is needed at all, and
    ``only_to_read`` that it is needed for nothing but activations.
    """

    config: schema.Config
    planned: PlannedModel
    read: ActivationReader
    shape: Shape
    text: PlannedText
    method: Method
    machine: Machine
    largest: Passes
    loaded: bool
    only_to_read: bool

    def all(self, cache_bytes: int) -> tuple[Need, ...]:
        """Disk, memory of extraction, of scoring and of the probes, by device; ``cache_bytes`` are to be written."""
        found = [self._disk(cache_bytes)] if self.config.activations.store else []
        if self.loaded:
            found += self._extraction()
        found += [self._scoring(), *self._probes()]
        return tuple(found)

    def fits(self, blocks: int | None) -> bool:
        """Whether so many blocks (None: the model) and a batch fit where the model runs, to be timed."""
        weights = self.shape.weight_bytes
        if blocks is not None:
            weights = blocks * self.shape.block_parameters * self.shape.item_bytes
        here = self._gpu if self.planned.on_gpu else self.machine.memory
        return here is not None and weights + self._batch() + self._captured(1) <= ROOM * here

    @property
    def _width(self) -> int:
        return self.read.model.width(self.read.site)

    @property
    def _layers(self) -> int:
        return len(self.read.layers)

    @property
    def _item(self) -> int:
        return ITEM_BYTES[self.read.dtype]

    @property
    def _weights(self) -> int:
        return self.shape.weight_bytes if self.loaded else 0

    @property
    def _gpu(self) -> int | None:
        """Bytes free on the GPU that the model goes to, or on all of them if it is spread."""
        return self.machine.gpu(self.config.model.device, spread=self.config.model.device_map is not None)

    def _batch(self) -> int:
        reading = read_bytes(self.largest.most_words, self._width, self.shape.item_bytes)
        return batch_bytes(self.shape, self.largest) + reading

    def _captured(self, batches: int) -> int:
        return captured_bytes(self.largest.most_words, self._width, self._layers, self._item, batches=batches)

    def _disk(self, needed: int) -> Need:
        arrays = f"{_gb(needed // self._layers)} a layer in {self.read.dtype}"
        ways = [*self._fewer_layers(needed, self.machine.disk), *self._smaller_items(), *self._no_store()]
        ways += [
            "dataset.max_words.train=N or dataset.max_sentences.train=N: less text",
            "cache=FOLDER on another disk",
        ]
        return Need("cache on disk", needed, self.machine.disk, arrays, ways_out=tuple(ways))

    def _extraction(self) -> list[Need]:
        weights, batch = self._weights, self._batch()
        if not self.planned.on_gpu:
            kept = self._captured(1)
            parts = _parts({"process": PROCESS_BYTES, "weights": weights, "a batch": batch, "what is kept of it": kept})
            needed = PROCESS_BYTES + weights + batch + kept
            return [Need("memory of extraction", needed, self.machine.memory, parts, ways_out=self._lighter_model())]
        store, map_ = self.config.activations.store, self.config.model.device_map
        on_gpu = self._captured(1) if not store else 0
        kept = self._captured(2) if store else 0
        loading = weights if map_ is None else max(0, weights + batch - (self._gpu or weights + batch))
        way = "weights on their way to the GPU" if map_ is None else "weights that the GPUs do not hold"
        gpu = {"weights": weights, "a batch": batch, "what is kept of it": on_gpu}
        host = {
            "process": PROCESS_BYTES,
            way: loading,
            "what is kept of two batches": kept,
        }
        return [
            _need("GPU memory of extraction", gpu, self._gpu, self._lighter_model()),
            _need("memory of extraction", host, self.machine.memory, self._lighter_model(loading=True)),
        ]

    def _scoring(self) -> Need:
        traits = self.method.traits
        budget, tags = self.config.activations.memory_mb * 2**20, self.text.n_tags
        at_least, ways = False, [f"activations.memory_mb={self.config.activations.memory_mb // 2}"]
        if self.method.attribution is not None:
            own, told = budget, "attribution, by activations.memory_mb"
        elif traits.views:
            own = moments_bytes(self._width, self._layers, tags, self._item, VALUES_AT_ONCE)
            told, ways = "sums by tag", [*self._fewer_layers_plain()]
            if self.config.threshold.kind == "permutation":
                own, told = own + budget, "sums by tag and of permutations, by activations.memory_mb"
        elif traits.per_neuron:
            own, told = budget, "blocks of neurons, by activations.memory_mb"
        else:
            layers = self._layers if self.config.scope == "model" else 1
            own = side_by_side_bytes(self.text.labelled["train"], self._width, layers, self._item)
            told, at_least = f"all neurons of {layers} layers side by side", True
            ways = ["scope=layer: a layer at a time"] if layers > 1 else []
            ways += ["selection=correlation, or another method that needs sums only"]
        if self.planned.on_gpu:
            return _need("GPU memory of scoring", {"weights": self._weights, told: own}, self._gpu, ways, at_least)
        parts = {"process": PROCESS_BYTES, "weights": self._weights, told: own}
        ways = ways if PROCESS_BYTES + own > self.machine.memory else self._cache_first(own)
        return _need("memory of scoring", parts, self.machine.memory, ways, at_least)

    def _probes(self) -> list[Need]:
        config, text, neurons = self.config, self.text, self._width * self._layers
        of_tag = config.top_k * (self._layers if config.scope == "layer" else 1)
        n_key = min(neurons, of_tag * text.n_tags)
        reads = {name: each.reads(n_key, neurons) for name, each in build_controls(config).items()}
        base = n_key * (1 + config.per_tag.random_sets)
        columns = min(neurons, base + sum(reads.values()))
        fewer = {name: each for name, each in reads.items() if each < neurons}
        few = min(neurons, base + sum(fewer.values()))
        of = text.labelled
        batch = config.probe.batch_size
        own = probe_bytes(sum(of.values()), of["train"], of["dev"], columns, self._item, batch_words=batch)
        weights = 0 if self.planned.on_gpu else self._weights
        parts = {"process": PROCESS_BYTES, "weights": weights, f"{columns:,} neurons": own}
        ways = [f"control=[{','.join(fewer)}]: at most {few:,} neurons"] if columns > few else []
        ways += [*self._fewer_layers_plain(), "dataset.max_words.train=N: less text", *self._cache_first(own)]
        found = [_need("memory of the probes", parts, self.machine.memory, ways)]
        if self.planned.on_gpu and config.trainer.model_dump().get("accelerator", "auto") != "cpu":
            moved = probe_device_bytes(of["train"], of["dev"], columns)
            inside = {"weights": self._weights, f"{columns:,} neurons": moved}
            found.append(_need("GPU memory of the probes", inside, self._gpu, [*ways, "trainer=cpu"]))
        return found

    def _lighter_model(self, *, loading: bool = False) -> tuple[str, ...]:
        """Overrides by which the model takes less memory, or has more of it."""
        ways = []
        if self.planned.model.dtype == "float32":
            ways.append(f"model.dtype=bfloat16: {_gb(2 * self.shape.parameters)} of weights")
        if self.planned.on_gpu and self.config.model.device_map is None and not self.config.model.random_weights:
            told = (
                "loads onto the GPU piece by piece"
                if loading
                else "spreads the model over all GPUs, the rest in memory"
            )
            ways.append(f"model.device_map=auto: {told}")
        if not self.planned.on_gpu and self.machine.gpus:
            ways.append("model.device=cuda")
        if 10 * (self._batch() + self._captured(1)) > self.shape.weight_bytes:
            ways.append(f"activations.batch_tokens={self.read.batch_tokens // 2}: smaller batches")
        return tuple(ways)

    def _fewer_layers(self, needed: int, here: int) -> list[str]:
        if self._layers < 2:
            return []
        most = min(self._layers - 1, int(here * self._layers // max(1, needed)))
        example = ",".join(map(str, self.read.layers[:: max(1, -(-self._layers // max(1, most)))][:most]))
        return [f"fewer layers: {most} of the {self._layers} fit, such as layer=[{example}]"] if most else []

    def _fewer_layers_plain(self) -> list[str]:
        return ["fewer layers: layer=[...]"] if self._layers > 1 else []

    def _smaller_items(self) -> list[str]:
        return ["activations.dtype=float16: half of it"] if self.read.dtype == "float32" else []

    def _no_store(self) -> list[str]:
        """To keep nothing on disk, if the method allows it, and what else that needs."""
        activations = self.config.activations.model_copy(update={"store": False})
        try:
            build_selection(self.config.model_copy(update={"activations": activations}), self.method)
        except ValueError as error:
            _, also, needed = str(error).partition("also needs ")
            return [f"activations.store=false with {needed}: a pass over the text for every question"] if also else []
        return ["activations.store=false: a pass over the text for every question"]

    def _cache_first(self, own: int) -> list[str]:
        """To read before the run, which then loads no model."""
        helps = self.loaded and self.only_to_read and self.config.activations.store
        if not helps or PROCESS_BYTES + own > self.machine.memory:
            return []
        return ["keyneurons extract with the same overrides first: a run whose activations are cached loads no model"]


def _need(what: str, parts: dict[str, int], here: int | None, ways: Iterable[str], at_least: bool = False) -> Need:
    return Need(what, sum(parts.values()), here, _parts(parts), at_least, tuple(ways))


def _parts(parts: dict[str, int]) -> str:
    return " + ".join(f"{what} {_gb(size)}" for what, size in parts.items() if size)


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / GIGABYTE:.2f} GB" if n_bytes >= GIGABYTE / 10 else f"{n_bytes / 1e6:.1f} MB"
