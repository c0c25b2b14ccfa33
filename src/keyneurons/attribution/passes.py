"""Attribution of words in batches, from recording to results."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.attribution.budget import Batching, batching, head_rows
from keyneurons.attribution.gradients import Differentiator, Target
from keyneurons.attribution.integral import Attributions
from keyneurons.attribution.paths import AttributionPath, Baseline
from keyneurons.attribution.recording import Positions, Recording, record
from keyneurons.attribution.targets import Targets
from keyneurons.models.language_model import LanguageModel
from keyneurons.progress import stage
from keyneurons.records import Site

log = logging.getLogger(__name__)

AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-6}  # tolerance of log-probabilities, in nats
HALF_AGREEMENT = 0.5


@dataclass(frozen=True)
class Attributor:
    """Attributes words to the neurons of one site; ``memory_bytes`` is the budget of a batch."""

    model: LanguageModel
    site: Site
    along: AttributionPath
    target: Target
    memory_bytes: int

    def plan(self, encoded: Sequence[Encoded], targets: Targets, layers: Sequence[int]) -> Batching:
        """Choose batch sizes, after verifying that the model can be run block by block.

        Returns:
            The number of words and copies per batch.

        Raises:
            ValueError: If the model cannot be run block by block, or the memory is too small for
                one word.
        """
        lengths = [len(encoded[s].ids) for s in targets.sentence]
        longest = targets.of(np.array([int(np.argmax(lengths))]))
        recording, tokens = self._record(encoded, longest, layers)
        self._verify(encoded, longest, recording, tokens, min(layers))
        return batching(self.memory_bytes, self.along, self._differentiator(self.target), recording)

    def _verify(
        self, encoded: Sequence[Encoded], target: Targets, recording: Recording, tokens: Tensor, first: int
    ) -> None:
        """Compare the model's own prediction of one word with that of the blocks run one by one.

        Raises:
            ValueError: If the predictions differ or are not finite.
        """
        inputs = make_batch([encoded[s] for s in target.sentence], [0], pad_left=False).inputs(self.model.device)
        with torch.no_grad():
            logits = self.model.predictor.whole(**inputs).logits[0, int(target.position[0])]
        own = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(0)[tokens]
        if not own.isfinite().all():
            raise ValueError(f"the prediction of {self.model.files.id} is not finite")
        direct = self._differentiator("log_probability")
        by_block = direct(recording, slice(None), tokens, {first: None}).target[:, 0]
        dtype = next(self.model.predictor.base.parameters()).dtype
        for value in (direct.recorded(recording, tokens), by_block):
            if not torch.allclose(value.to(own), own, rtol=0, atol=AGREEMENT.get(dtype, HALF_AGREEMENT)):
                difference = f"log-probability {value.item():.4f} instead of {own.item():.4f}"
                raise ValueError(f"{self.model.files.id} cannot be run block by block: {difference}")

    def passes(
        self,
        encoded: Sequence[Encoded],
        targets: Targets,
        layers: Sequence[int],
        baseline: Baseline,
        plan: Batching,
        done: int = 0,
    ) -> Iterator[tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some columns"]]]]:
        """Attribute words in batches, longest sentences first so that memory errors occur early.

        Args:
            encoded: all sentences of a split, each word with its first and last token.
            targets: the words.
            layers: the layers.
            baseline: baseline activations of every layer.
            plan: the batch sizes.
            done: number of finished batches, which are skipped.

        Yields:
            Positions of some targets, and by layer their attributions on the CPU. For integrals, a
            last column has the change of the target to which the attributions sum.
        """
        lengths = np.array([len(encoded[s].ids) for s in targets.sentence])
        order = np.lexsort((targets.rows, -lengths))
        batches = [order[first : first + plan.words] for first in range(0, len(order), plan.words)]
        differentiate = self._differentiator(self.target)
        size = f"{plan.words} words x {plan.copies} copies per batch, about {plan.estimate / 2**20:.0f} MiB"
        log.info("attributing %d words to %d layers (%s): %s", len(order), len(layers), self.site, size)
        n_done = sum(len(batch) for batch in batches[:done])
        with stage("attributing the predictions", total=len(order), unit="words", first=n_done) as progress:
            for chosen in batches[done:]:
                recording, tokens = self._record(encoded, targets.of(chosen), layers)
                yield chosen, self._columns(self.along(differentiate, recording, tokens, baseline, plan.copies))
                progress.advance(len(chosen))

    def probabilities(self, encoded: Sequence[Encoded], words: Targets, batch_tokens: int) -> Float[ndarray, " words"]:
        """Probability of each word's first token, in batches of ``batch_tokens``."""
        differentiate = self._differentiator("probability")
        result = np.empty(len(words.rows), dtype=np.float32)
        plan = plan_batches([len(e.ids) for e in encoded], batch_tokens)
        with stage("probabilities of words", total=len(plan), unit="passes") as progress:
            for batch in plan:
                here = np.flatnonzero(np.isin(words.sentence, batch))
                if len(here):
                    recording, tokens = self._record(encoded, words.of(here), ())
                    result[here] = differentiate.recorded(recording, tokens).float().cpu().numpy()
                progress.advance()
        return result

    def _differentiator(self, target: Target) -> Differentiator:
        rows = head_rows(self.memory_bytes, int(self.model.config.vocab_size))
        return Differentiator(self.model.predictor, self.model.family, self.site, target, rows)

    def _record(
        self, encoded: Sequence[Encoded], targets: Targets, layers: Sequence[int]
    ) -> tuple[Recording, Int[Tensor, " words"]]:
        sentences, place = np.unique(targets.sentence, return_inverse=True)
        batch = make_batch([encoded[s] for s in sentences], [0] * len(sentences), pad_left=False)
        device = self.model.device
        positions = Positions(torch.from_numpy(place).to(device), torch.from_numpy(targets.position).to(device))
        base, inputs = self.model.predictor.base, batch.inputs(device)
        recording = record(base, self.model.family, self.site, layers, inputs, positions)
        return recording, torch.from_numpy(targets.token).to(device)

    def _columns(self, attributions: Attributions) -> dict[int, Float[Tensor, "words columns"]]:
        columns, change = {}, attributions.change
        for layer, values in attributions.by_layer.items():
            columns[layer] = values.float().cpu()
            if change is not None:
                columns[layer] = torch.cat([columns[layer], change[layer][:, None].float().cpu()], dim=1)
            if not columns[layer].isfinite().all():
                neuron = int((~columns[layer].isfinite()).any(0).nonzero()[0])
                raise ValueError(f"attribution to {self.site} layer {layer} neuron {neuron} is not finite")
        return columns
