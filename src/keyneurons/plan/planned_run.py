"""A planned run: sizes that determine its needs, and overrides that reduce them."""

from __future__ import annotations

from dataclasses import dataclass

from keyneurons.activations.reader import ActivationReader
from keyneurons.build.selection import Method, check_selection
from keyneurons.config import schema
from keyneurons.plan.costs import ITEM_BYTES, Passes, Shape, batch_bytes, captured_bytes, read_bytes
from keyneurons.plan.machine import Machine
from keyneurons.plan.model import PlannedModel
from keyneurons.plan.probes import RunSizes
from keyneurons.plan.report import GIGABYTE
from keyneurons.plan.text import PlannedText

PROCESS_BYTES = 700_000_000
"""Measured memory of Python with torch, transformers, Lightning and the text."""


@dataclass(frozen=True)
class PlannedRun:
    """A planned run.

    ``largest`` has the maxima over the splits; ``loaded`` says whether the run loads the model, and
    ``only_extraction`` whether only extraction uses it.
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
    only_extraction: bool

    @property
    def _width(self) -> int:
        return self.read.model.width(self.read.site)

    @property
    def _layers(self) -> int:
        return len(self.read.layers)

    @property
    def sizes(self) -> RunSizes:
        """Upper bounds of the numbers of key neurons, and the numbers of neurons and tags."""
        per_tag = self.config.top_k * (self._layers if self.config.scope == "layer" else 1)
        neurons, tags = self.read.units * self._layers, self.text.n_tags
        return RunSizes(per_tag, min(neurons, per_tag * tags), neurons, self._layers, tags)

    @property
    def _item(self) -> int:
        return ITEM_BYTES[self.read.dtype]

    @property
    def _weights(self) -> int:
        return self.shape.weight_bytes if self.loaded else 0

    @property
    def _gpu(self) -> int | None:
        """Free bytes on the model's GPU, or on all GPUs if ``device_map`` spreads the model."""
        return self.machine.gpu(self.config.model.device, spread=self.config.model.device_map is not None)

    def _batch(self) -> int:
        reading = read_bytes(self.largest.most_words, self._width, self.shape.item_bytes)
        return batch_bytes(self.shape, self.largest) + reading

    def _captured(self, batches: int) -> int:
        return captured_bytes(self.largest.most_words, self._width, self._layers, self._item, batches=batches)

    def _lighter_model(self, *, loading: bool = False) -> tuple[str, ...]:
        """Overrides that reduce the memory of the model, or give it more."""
        remedies = []
        if self.planned.model.dtype == "float32":
            remedies.append(f"model.dtype=bfloat16: {gigabytes(2 * self.shape.parameters)} of weights")
        trained = self.config.model.random_weights is None
        if self.planned.on_gpu and self.config.model.device_map is None and trained:
            effect = (
                "loads weights onto the GPU piece by piece" if loading else "spreads the model over GPUs and memory"
            )
            remedies.append(f"model.device_map=auto: {effect}")
        if not self.planned.on_gpu and self.machine.gpus:
            remedies.append("model.device=cuda")
        if 10 * (self._batch() + self._captured(1)) > self.shape.weight_bytes:
            remedies.append(f"activations.batch_tokens={self.read.batch_tokens // 2}: smaller batches")
        return tuple(remedies)

    def _fewer_layers(self, needed: int, free: int) -> list[str]:
        if self._layers < 2:
            return []
        most = min(self._layers - 1, int(free * self._layers // max(1, needed)))
        example = ",".join(map(str, self.read.layers[:: max(1, -(-self._layers // max(1, most)))][:most]))
        return [f"fewer layers: {most} of {self._layers} fit, e.g. layer=[{example}]"] if most else []

    def _fewer_layers_plain(self) -> list[str]:
        return ["fewer layers: layer=[...]"] if self._layers > 1 else []

    def _smaller_items(self) -> list[str]:
        return ["activations.dtype=float16: half the size"] if self.read.dtype == "float32" else []

    def _no_store(self) -> list[str]:
        """The override that stores no activations and its requirements, if the method allows."""
        activations = self.config.activations.model_copy(update={"store": "moments"})
        try:
            check_selection(self.config.model_copy(update={"activations": activations}), self.method)
        except ValueError as error:
            _, separator, needed = str(error).partition("also needs ")
            return (
                [f"activations.store=moments with {needed}: two passes, sums and single neurons in the cache"]
                if separator
                else []
            )
        return ["activations.store=moments: two passes, sums and single neurons in the cache"]

    def _cache_first(self, own: int) -> list[str]:
        """Extraction before the run, which then loads no model."""
        helps = self.loaded and self.only_extraction and self.config.activations.store is True
        if not helps or PROCESS_BYTES + own > self.machine.memory:
            return []
        return ["keyneurons extract with the same overrides first: a run with cached activations loads no model"]


def gigabytes(n_bytes: int) -> str:
    """A size as text."""
    return f"{n_bytes / GIGABYTE:.2f} GB" if n_bytes >= GIGABYTE / 10 else f"{n_bytes / 1e6:.1f} MB"
