"""Text generation under lesions, many texts and conditions in one batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.activations.capture import hook_changes
from keyneurons.lesion.conditions import Condition, apply_conditions, target_of
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


class NonFiniteLogits(ValueError):
    """A condition makes logits that are not finite."""

    def __init__(self, condition: Condition) -> None:
        super().__init__("the changed activations make logits that are not finite")
        self.condition = condition


@dataclass(frozen=True)
class Prompt:
    """Token ids to continue, and the seed of the random numbers of their continuation."""

    ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Sampling:
    """Number of new tokens at most, and the temperature: 0 is greedy decoding."""

    new_tokens: int
    temperature: float


@dataclass(frozen=True)
class Generation:
    """Prompts, each continued ``samples`` times with random numbers of its own."""

    prompts: tuple[str, ...]
    sampling: Sampling
    seed: int
    samples: int = 1

    def __post_init__(self) -> None:
        if self.sampling.temperature == 0 and self.samples > 1:
            raise ValueError(f"greedy texts (temperature 0) of {self.samples} seeds are the same; use one seed")

    def encoded(self, model: LanguageModel, bos: int | None) -> list[Prompt]:
        """The prompts of all texts as tokens; those of a prompt are together.

        Raises:
            ValueError: a prompt with its continuation exceeds the model's context length, or has
                tokens without embedding.
        """
        limit = getattr(model.config, "max_position_embeddings", None)
        encoded = []
        for number, prompt in enumerate(self.prompts):
            ids = ([] if bos is None else [bos]) + model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            model.check_ids(ids, prompt)
            if limit is not None and len(ids) + self.sampling.new_tokens > limit:
                raise ValueError(
                    f"the prompt {prompt[:40]!r} has {len(ids)} tokens; with {self.sampling.new_tokens} new ones they "
                    f"exceed the {limit} of {model.files.id}"
                )
            for sample in range(self.samples):
                seed = int(np.random.SeedSequence([self.seed, number, sample]).generate_state(1)[0])
                encoded.append(Prompt(tuple(ids), seed))
        return encoded


def continuations(
    model: LanguageModel,
    site: Site,
    conditions: Sequence[Condition],
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    batch_tokens: int,
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[list[tuple[int, ...]]]:
    """Continue every prompt under every condition.

    A token is sampled as the largest of its logits, divided by the temperature, plus Gumbel noise
    (Gumbel 1954), which depends on the seed of the prompt and the position alone. So the text of a
    prompt does not depend on the others in its batch, and conditions share their random numbers: a
    condition that changes nothing gives the same text.

    Args:
        model: the model.
        site: site of the lesions.
        conditions: the lesions; they may not need donors.
        prompts: the prompts.
        sampling: length and temperature.
        batch_tokens: tokens of the texts that are continued together.
        on_progress: called with the number of texts after every batch.

    Returns:
        By condition and prompt, the new token ids, up to the end token if there is one.

    Raises:
        NonFiniteLogits: a condition makes logits that are not finite.
    """
    most = max(1, batch_tokens // (max(len(prompt.ids) for prompt in prompts) + sampling.new_tokens))
    found: list[list[tuple[int, ...]]] = [[()] * len(prompts) for _ in conditions]
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    for some in _chunks(by_length, most):
        for those in _chunks(range(len(conditions)), max(1, most // len(some))):
            texts = _batch(model, site, [conditions[c] for c in those], [prompts[i] for i in some], sampling)
            for number, ids in enumerate(texts):
                found[those[number // len(some)]][some[number % len(some)]] = ids
            on_progress(len(texts))
    return found


def decoded(model: LanguageModel, ids: Sequence[int]) -> str:
    """The text of some tokens, without special ones."""
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def _batch(
    model: LanguageModel, site: Site, conditions: Sequence[Condition], prompts: Sequence[Prompt], sampling: Sampling
) -> list[tuple[int, ...]]:
    """Continue every prompt under every condition in one batch, condition by condition."""
    n, whole = len(conditions), model.predictor.whole
    longest = max(len(prompt.ids) for prompt in prompts)
    pad = model.tokenizer.pad_token_id or model.tokenizer.eos_token_id or 0
    padded = [[pad] * (longest - len(prompt.ids)) + list(prompt.ids) for prompt in prompts]
    read = [[0] * (longest - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]

    def apply(layer: int, *at: Float[Tensor, "rows tokens neurons"]) -> Float[Tensor, "rows tokens neurons"]:
        read, moved = (value.reshape(n, len(prompts), *value.shape[1:]) for value in at)
        return apply_conditions(conditions, layer, read, target=moved).flatten(0, 1)

    layers = sorted({layer for condition in conditions for layer in condition.layers})
    functions = {layer: functools.partial(apply, layer) for layer in layers}
    hooks = hook_changes(model.predictor.base, model.family, site, target_of(conditions), functions)
    with quiet_transformers(), hooks, torch.inference_mode():
        output = whole.generate(  # type: ignore[operator]
            torch.tensor(padded, device=model.device).repeat(n, 1),
            attention_mask=torch.tensor(read, device=model.device).repeat(n, 1),
            max_new_tokens=sampling.new_tokens,
            pad_token_id=pad,
            do_sample=False,
            logits_processor=[
                _Choice(conditions, [_generator(prompt.seed) for prompt in prompts], sampling.temperature)
            ],
        )
    end = getattr(whole.generation_config, "eos_token_id", None)
    ends = set(end) if isinstance(end, list) else {end}
    return [_until(ends, row) for row in output[:, longest:].tolist()]


@dataclass(frozen=True)
class _Choice:
    """Adds noise to logits, so that the largest is a sample; rows are those of ``_batch``."""

    conditions: Sequence[Condition]
    generators: Sequence[torch.Generator]
    temperature: float

    def __call__(
        self, _: Int[Tensor, "rows tokens"], logits: Float[Tensor, "rows vocabulary"]
    ) -> Float[Tensor, "rows vocabulary"]:
        wrong = (logits.isnan() | (logits == torch.inf)).any(dim=1)
        if wrong.any():
            raise NonFiniteLogits(self.conditions[int(wrong.nonzero()[0, 0]) // len(self.generators)])
        if self.temperature == 0:
            return logits
        waiting = [torch.empty(logits.shape[1]).exponential_(generator=each) for each in self.generators]
        noise = -torch.stack(waiting).log()  # Gumbel
        return logits / self.temperature + noise.to(logits).repeat(len(self.conditions), 1)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _until(ends: set[int | None], ids: list[int]) -> tuple[int, ...]:
    """The ids up to the first end, which is kept."""
    n = next((i + 1 for i, token in enumerate(ids) if token in ends), len(ids))
    return tuple(ids[:n])


def _chunks(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (numbers[first : first + size] for first in range(0, len(numbers), size))
