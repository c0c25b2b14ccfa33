"""Disk and memory that a planned run needs, compared with this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyneurons.build.probing import build_controls
from keyneurons.plan.costs import (
    moments_bytes,
    probe_bytes,
    side_by_side_bytes,
    training_bytes,
)
from keyneurons.plan.planned_run import PROCESS_BYTES, PlannedRun, gigabytes
from keyneurons.plan.probes import planned_probes
from keyneurons.plan.report import Need
from keyneurons.selection.interface import Traits
from keyneurons.selection.moments import VALUES_AT_ONCE, WIDE

ROOM = 0.9  # share of the free memory that a timing may use


@dataclass(frozen=True)
class Needs(PlannedRun):
    """The needs of a planned run."""

    def all(self, cache_bytes: int) -> tuple[Need, ...]:
        """Disk for ``cache_bytes``, and memory for extraction, scoring and probes, by device."""
        needs = [self._disk(cache_bytes)] if self.config.activations.store is True else []
        if self.loaded:
            needs += self._extraction()
        if self.method.traits is not None:
            needs.append(self._scoring(self.method.traits))
        needs += self._probes()
        return tuple(needs)

    def fits(self, blocks: int | None) -> bool:
        """Whether some blocks (None: the model) and a batch fit into the memory of the device."""
        weights = self.shape.weight_bytes
        if blocks is not None:
            weights = blocks * self.shape.block_parameters * self.shape.item_bytes
        free = self._gpu if self.planned.on_gpu else self.machine.memory
        return free is not None and weights + self._batch() + self._captured(1) <= ROOM * free

    def _disk(self, needed: int) -> Need:
        arrays = f"{gigabytes(needed // self._layers)} per layer in {self.read.dtype}"
        remedies = [*self._fewer_layers(needed, self.machine.disk), *self._smaller_items(), *self._no_store()]
        remedies += [
            "dataset.max_words.train=N or dataset.max_sentences.train=N: less text",
            "cache=FOLDER on another disk",
        ]
        return Need("disk for the cache", needed, self.machine.disk, arrays, remedies=tuple(remedies))

    def _extraction(self) -> list[Need]:
        weights, batch = self._weights, self._batch()
        if not self.planned.on_gpu:
            captured = self._captured(1)
            sizes = {"process": PROCESS_BYTES, "weights": weights, "a batch": batch, "its activations": captured}
            return [_need("memory for extraction", sizes, self.machine.memory, self._lighter_model())]
        store, map_ = self.config.activations.store is True, self.config.model.device_map
        on_gpu = self._captured(1) if not store else 0
        on_host = self._captured(2) if store else 0
        loading = weights if map_ is None else max(0, weights + batch - (self._gpu or weights + batch))
        label = "weights while loading" if map_ is None else "weights not on a GPU"
        gpu = {"weights": weights, "a batch": batch, "its activations": on_gpu}
        host = {"process": PROCESS_BYTES, label: loading, "activations of two batches": on_host}
        return [
            _need("GPU memory for extraction", gpu, self._gpu, self._lighter_model()),
            _need("memory for extraction", host, self.machine.memory, self._lighter_model(loading=True)),
        ]

    def _scoring(self, traits: Traits) -> Need:
        budget, tags = self.config.activations.memory_mb * 2**20, self.text.n_tags
        at_least, remedies = False, [f"activations.memory_mb={self.config.activations.memory_mb // 2}"]
        if self.method.attribution is not None:
            own, label = budget, "attribution (activations.memory_mb)"
        elif traits.views:
            piece = VALUES_AT_ONCE * max(1, self.read.units // WIDE)
            own = moments_bytes(self.read.units, self._layers, tags, self._item, piece)
            label, remedies = "sums by tag", [*self._fewer_layers_plain()]
            if self.config.threshold.kind == "permutation":
                own, label = own + budget, "sums by tag and permutations (activations.memory_mb)"
        elif traits.per_neuron:
            own, label = budget, "blocks of neurons (activations.memory_mb)"
        else:
            layers = self._layers if self.config.scope == "model" else 1
            own = side_by_side_bytes(self.text.labelled["train"], self._width, layers, self._item)
            label, at_least = f"all neurons of {layers} layer{'s' if layers > 1 else ''} at once", True
            remedies = ["scope=layer: one layer at a time"] if layers > 1 else []
            remedies += ["selection=correlation, or another method that needs only sums"]
        if self.planned.on_gpu:
            sizes = {"weights": self._weights, label: own}
            return _need("GPU memory for scoring", sizes, self._gpu, remedies, at_least)
        sizes = {"process": PROCESS_BYTES, "weights": self._weights, label: own}
        remedies = remedies if PROCESS_BYTES + own > self.machine.memory else self._cache_first(own)
        return _need("memory for scoring", sizes, self.machine.memory, remedies, at_least)

    def _probes(self) -> list[Need]:
        config, text, neurons, n_key = self.config, self.text, self.sizes.neurons, self.sizes.key
        reads = {name: control.reads(n_key, neurons) for name, control in build_controls(config).items()}
        if not (stored := config.activations.store is True):  # those that need all neurons are not measured
            reads = {name: n for name, n in reads.items() if n < neurons}
        base = n_key * (1 + config.per_tag.random_sets)
        columns = neurons if stored and config.worth.sizes else min(neurons, base + sum(reads.values()))
        fewer = {name: n for name, n in reads.items() if n < neurons}
        few = min(neurons, base + sum(fewer.values()))
        words, batch = text.labelled, config.probe.batch_size
        inputs = sum(words.values()), words["train"], words["dev"], columns, self._item
        budget = config.activations.memory_mb * 2**20
        own = probe_bytes(*inputs, batch_words=batch, budget=budget)
        if not stored:
            own += inputs[0] * columns * self._item
        probes = planned_probes(config, self.sizes)
        number, n_weights = sum(each.number for each in probes), sum(each.weights for each in probes)
        training = training_bytes(n_weights, number, sum(words.values()))
        weights = 0 if self.planned.on_gpu else self._weights
        sizes = {
            "process": PROCESS_BYTES,
            "weights": weights,
            f"{columns:,} neurons": own,
            f"{number:,} probes": training,
        }
        off = "worth.sizes=0 " if stored and config.worth.sizes else ""
        remedies = [f"{off}control=[{','.join(fewer)}]: at most {few:,} neurons"] if columns > few else []
        remedies += [*self._fewer_layers_plain(), "dataset.max_words.train=N: less text", *self._cache_first(own)]
        needs = [_need("memory for probes", sizes, self.machine.memory, remedies)]
        if self.planned.on_gpu and config.trainer.model_dump().get("accelerator", "auto") != "cpu":
            room = max(budget, (self._gpu or 0) // 2)
            own = probe_bytes(*inputs, batch_words=batch, budget=room)
            sizes = {"weights": self._weights, f"{columns:,} neurons": own, f"{number:,} probes": training}
            needs.append(_need("GPU memory for probes", sizes, self._gpu, [*remedies, "trainer=cpu"]))
        return needs


def _need(
    name: str, sizes: dict[str, int], available: int | None, remedies: Iterable[str], at_least: bool = False
) -> Need:
    parts = " + ".join(f"{part} {gigabytes(size)}" for part, size in sizes.items() if size)
    return Need(name, sum(sizes.values()), available, parts, at_least, tuple(remedies))
