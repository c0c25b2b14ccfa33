"""Gradients of word probabilities with respect to activations at the predicting positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.activations.capture import SiteHook, hook_site
from keyneurons.attribution.recording import Recording
from keyneurons.models.families import Family, block_modules
from keyneurons.models.head import Predictor
from keyneurons.records import Site

Target = Literal["probability", "log_probability"]
Substitutes = Mapping[int, Float[Tensor, "some copies neurons"] | None]


@dataclass(frozen=True)
class Gradients:
    """Target of every word and copy, and by layer its gradient with respect to the activations."""

    target: Float[Tensor, "words copies"]
    by_layer: Mapping[int, Float[Tensor, "words copies neurons"]]


@dataclass(frozen=True)
class Differentiator:
    """Computes targets and gradients from a recording with substituted activations.

    ``target`` is the probability of the word's token or its natural logarithm; the head processes
    ``head_rows`` positions at a time.
    """

    predictor: Predictor
    family: Family
    site: Site
    target: Target
    head_rows: int

    def recorded(self, recording: Recording, tokens: Int[Tensor, " words"]) -> Float[Tensor, " words"]:
        """The target of every word in the recorded pass."""
        return self._targets(recording.final, tokens)

    def __call__(
        self,
        recording: Recording,
        words: slice,
        tokens: Int[Tensor, " words"],
        substitutes: Substitutes,
        copies: int = 1,
    ) -> Gradients:
        """Compute targets and gradients from a recording with substituted activations.

        Args:
            recording: the recorded pass.
            words: some of its words.
            tokens: the token of each word, for all words of the recording.
            substitutes: by layer, the activations that replace those of each copy; None keeps them.
            copies: number of copies of each word's position.

        Returns:
            The targets, and their gradients with respect to the activations of the layers in
            ``substitutes``.
        """
        with torch.enable_grad():
            final, activations = self.run(recording, words, substitutes, copies)
        target, slope = self._head(final.detach().flatten(0, 1), tokens[words].repeat_interleave(copies))
        gradients = torch.autograd.grad(final, [activations[layer] for layer in substitutes], slope.view_as(final))
        return Gradients(target.view(-1, copies), dict(zip(substitutes, gradients, strict=True)))

    @torch.no_grad()
    def changed(
        self, recording: Recording, tokens: Int[Tensor, " words"], substitutes: Substitutes, copies: int
    ) -> Float[Tensor, "words copies"]:
        """The target of every word with substituted activations; arguments as in the call."""
        final = self.run(recording, slice(None), substitutes, copies)[0]
        return self._targets(final.flatten(0, 1), tokens.repeat_interleave(copies)).view(-1, copies)

    def run(
        self, recording: Recording, words: slice, substitutes: Substitutes, copies: int
    ) -> tuple[Float[Tensor, "some copies hidden"], dict[int, Float[Tensor, "some copies neurons"]]]:
        """Run the blocks from the lowest layer of ``substitutes``; arguments as in the call.

        Returns:
            The output of the last norm and the activations of the layers, in one autograd graph if
            gradients are enabled.
        """
        activations: dict[int, Tensor] = {}

        def substitute(layer: int) -> SiteHook:
            def through(value: Tensor) -> Tensor:
                replacement = substitutes[layer]
                activations[layer] = value if replacement is None else replacement
                if torch.is_grad_enabled() and not activations[layer].requires_grad:
                    activations[layer] = activations[layer].detach().requires_grad_()
                return activations[layer]

            return through

        base = self.predictor.base
        blocks = block_modules(base, self.family)
        first = min(substitutes)
        with hook_site(base, self.family, self.site, {layer: substitute(layer) for layer in substitutes}):
            hidden = recording.inputs[first][words][:, None].expand(-1, copies, -1)
            for number in range(first, len(blocks)):
                hidden = recording.run(blocks[number], number, words, hidden)
            final: Tensor = self.predictor.norm(hidden)
        return final, activations

    @torch.no_grad()
    def _targets(self, final: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        parts = self._parts(final, tokens)
        log_probabilities = torch.cat([self.predictor.log_probability(hidden, token) for hidden, token in parts])
        return log_probabilities if self.target == "log_probability" else log_probabilities.exp()

    def _head(
        self, final: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows hidden"]]:
        """The target and its gradient with respect to the last norm's output, in chunks of rows."""
        targets, slopes = [], []
        for hidden, token in self._parts(final, tokens):
            with torch.enable_grad():
                leaf = hidden.requires_grad_()
                log_probability = self.predictor.log_probability(leaf, token)
                target = log_probability if self.target == "log_probability" else log_probability.exp()
            slopes.append(torch.autograd.grad(target.sum(), leaf)[0])
            targets.append(target.detach())
        return torch.cat(targets), torch.cat(slopes)

    def _parts(self, hidden: Tensor, tokens: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(torch.split(hidden, self.head_rows), torch.split(tokens, self.head_rows), strict=True)
