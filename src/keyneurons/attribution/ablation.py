"""Ablation of single neurons: the exact effects that attributions approximate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from keyneurons.attribution.gradients import Differentiator, Target
from keyneurons.attribution.integral import Attributions
from keyneurons.attribution.method import Attribution, GradientMethod, Reference, check_whole
from keyneurons.attribution.paths import Baseline
from keyneurons.attribution.recording import Recording
from keyneurons.selection.methods.mean_effect import MeanEffect
from keyneurons.selection.scorer import NeuronScorer

COPIES = 33  # of a word's position in a pass: the intact one, and one for each of 32 neurons
SAMPLE = ("words_per_tag", "min_context", "min_probability")


@dataclass(frozen=True)
class AblationPath:
    """Ablates some neurons one at a time; ``neurons`` are by layer, all others have effect 0."""

    neurons: Mapping[int, tuple[int, ...]]
    copies = COPIES
    together = False
    joint = False

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """The target of the intact model minus that with a neuron at its baseline.

        Both come from the same pass, which restarts in the block of the neuron.
        """
        by_layer: dict[int, Tensor] = {}
        for layer, activation in recording.activations.items():
            effects = activation.new_zeros(activation.shape, dtype=torch.promote_types(activation.dtype, torch.float32))
            neurons = torch.tensor(self.neurons.get(layer, ()), dtype=torch.long, device=activation.device)
            for some in torch.split(neurons, max(1, copies_at_once - 1)) if len(neurons) else ():
                copies = activation[:, None].repeat(1, 1 + len(some), 1)
                ablated = torch.arange(len(some), device=some.device)
                copies[:, 1 + ablated, some] = baseline[layer].to(copies)[some]
                target = differentiate.changed(recording, tokens, {layer: copies}, 1 + len(some)).to(effects)
                effects[:, some] = target[:, :1] - target[:, 1:]
            by_layer[layer] = effects
        return Attributions(by_layer, None)


@dataclass(frozen=True, kw_only=True)
class AblationEffect(Attribution):
    """Mean change of a word's log-probability, in nats, when a neuron is ablated: the exact effect.

    ``log p(word | intact) - log p(word | neuron ablated)``, averaged over the words of a tag. A
    neuron is ablated at the position that predicts the word, where it is set to 0 or to its mean
    over the training words.

    Only candidates are measured: for each tag and layer, the neurons with the largest absolute
    scores by another method. A candidate of any tag is measured on the words of all tags; the
    other neurons score 0, so they are never selected. Candidates by attribution are ranked by mean
    attribution to the same target and words, with the same baseline.

    Args:
        ablation: the value of an ablated neuron: zero, or its mean.
        candidates: number of candidates per tag and layer.
        by: the method that preselects them, of attributions or of activations.
    """

    ablation: Reference = "zero"
    candidates: int
    by: Attribution | NeuronScorer

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ablation not in {"zero", "mean"}:
            raise ValueError(f"ablation must be zero or mean, got {self.ablation!r}")
        check_whole("candidates", self.candidates)
        scores = isinstance(self.by, GradientMethod) or callable(self.by)
        if not is_dataclass(self.by) or not scores:
            raise ValueError(f"by must be a method that scores neurons, a dataclass, got {type(self.by).__name__}")

    @property
    def target(self) -> Target:
        """The logarithm of the probability of the word's first token."""
        return "log_probability"

    @property
    def baseline(self) -> Reference:
        """The value of an ablated neuron."""
        return self.ablation

    @property
    def scorer(self) -> MeanEffect:
        """The mean over the words of a tag."""
        return MeanEffect()

    @property
    def along(self) -> AblationPath:
        """No ablation, before candidates are known."""
        return AblationPath({})

    @property
    def preselection(self) -> Attribution | NeuronScorer:
        """The method that preselects candidates, adapted to the same words and target."""
        if not isinstance(self.by, GradientMethod):
            return self.by
        same = {name: getattr(self, name) for name in ("target", "baseline", *SAMPLE)}
        return replace(self.by, rank_by="mean", min_cramers_v=0.0, **same)

    def record(self) -> dict[str, Any]:
        """The options, for records of a run."""
        by: Any = self.preselection
        return {**super().record(), "by": {"kind": type(by).__name__, **asdict(by)}}
