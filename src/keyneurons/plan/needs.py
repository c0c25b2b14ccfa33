"""What a planned run needs of a machine, and what the machine has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyneurons.build.probing import build_controls
from keyneurons.plan.costs import (
    moments_bytes,
    probe_bytes,
    probe_device_bytes,
    side_by_side_bytes,
)
from keyneurons.plan.planned_run import PROCESS_BYTES, PlannedRun, gigabytes
from keyneurons.plan.report import Need
from keyneurons.selection.moments import VALUES_AT_ONCE

ROOM = 0.9  # of what is free, for a calibration: the machine may be needed for other things


@dataclass(frozen=True)
class Needs(PlannedRun):
    """What a planned run needs, computed one by one."""

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

    def _disk(self, needed: int) -> Need:
        arrays = f"{gigabytes(needed // self._layers)} a layer in {self.read.dtype}"
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


def _need(what: str, parts: dict[str, int], here: int | None, ways: Iterable[str], at_least: bool = False) -> Need:
    return Need(what, sum(parts.values()), here, _parts(parts), at_least, tuple(ways))


def _parts(parts: dict[str, int]) -> str:
    return " + ".join(f"{what} {gigabytes(size)}" for what, size in parts.items() if size)
