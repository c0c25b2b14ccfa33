"""A planned run: the sizes that its needs are computed of, and which overrides make it need less."""

from __future__ import annotations

from dataclasses import dataclass

from keyneurons.activations.reader import ActivationReader
from keyneurons.build.selection import Method, build_selection
from keyneurons.config import schema
from keyneurons.plan.costs import ITEM_BYTES, Passes, Shape, batch_bytes, captured_bytes, read_bytes
from keyneurons.plan.machine import Machine
from keyneurons.plan.model import PlannedModel
from keyneurons.plan.report import GIGABYTE
from keyneurons.plan.text import PlannedText

PROCESS_BYTES = 700_000_000
"""Python with torch, transformers, Lightning and the text, measured."""


@dataclass(frozen=True)
class PlannedRun:
    """A planned run.

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

    def _lighter_model(self, *, loading: bool = False) -> tuple[str, ...]:
        """Overrides by which the model takes less memory, or has more of it."""
        ways = []
        if self.planned.model.dtype == "float32":
            ways.append(f"model.dtype=bfloat16: {gigabytes(2 * self.shape.parameters)} of weights")
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


def gigabytes(n_bytes: int) -> str:
    """A size as text."""
    return f"{n_bytes / GIGABYTE:.2f} GB" if n_bytes >= GIGABYTE / 10 else f"{n_bytes / 1e6:.1f} MB"
