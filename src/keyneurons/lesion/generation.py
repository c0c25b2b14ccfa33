"""Text generation under a lesion."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.activations.capture import hook_site
from keyneurons.data.reading import read_text
from keyneurons.lesion.conditions import Condition, apply_conditions
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


@dataclass(frozen=True)
class Generation:
    """Prompts and options: greedy at ``temperature`` 0, else sampled with ``seed``."""

    prompts: tuple[str, ...]
    new_tokens: int
    temperature: float
    seed: int


def continuations(
    model: LanguageModel,
    site: Site,
    bos: int | None,
    condition: Condition,
    generation: Generation,
    on_progress: Callable[[int], object],
) -> tuple[str, ...]:
    """Continue every prompt under a condition; each continuation uses the same seed.

    Args:
        model: the model.
        site: site of the lesion.
        bos: id of the BOS token, or None.
        condition: the lesion; it may not need donors.
        generation: prompts and options.
        on_progress: called with 1 after every prompt.

    Returns:
        The continuations, without the prompts.
    """
    device = model.device
    functions = {layer: functools.partial(_apply, condition, layer) for layer in condition.layers}
    sampling = {"do_sample": False} if generation.temperature == 0 else _sampling(generation.temperature)
    texts = []
    with quiet_transformers(), hook_site(model.predictor.base, model.family, site, functions):
        for prompt in generation.prompts:
            ids = ([] if bos is None else [bos]) + model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            model.check_ids(ids, prompt)
            inputs = torch.tensor([ids], device=device)
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.inference_mode():
                torch.manual_seed(generation.seed)
                output = model.predictor.whole.generate(  # type: ignore[operator]
                    inputs,
                    attention_mask=torch.ones_like(inputs),
                    max_new_tokens=generation.new_tokens,
                    pad_token_id=model.tokenizer.pad_token_id or model.tokenizer.eos_token_id,
                    **sampling,
                )
            texts.append(str(model.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)))
            on_progress(1)
    return tuple(texts)


def continuations_under(
    model: LanguageModel, site: Site, conditions: Sequence[Condition], ids: Sequence[int], new_tokens: int
) -> tuple[str, ...]:
    """Continue one text greedily under several conditions, which are rows of one batch.

    Args:
        model: the model.
        site: site of the lesions.
        conditions: the lesions; they may not need donors.
        ids: token ids of the text, with the BOS token.
        new_tokens: largest number of tokens to add; a text may end earlier.

    Returns:
        The continuations, without the text.
    """

    def apply(layer: int, value: Float[Tensor, "rows tokens neurons"]) -> Float[Tensor, "rows tokens neurons"]:
        return apply_conditions(conditions, layer, value[:, None])[:, 0]

    layers = sorted({layer for condition in conditions for layer in condition.layers})
    functions = {layer: functools.partial(apply, layer) for layer in layers}
    inputs = torch.tensor([list(ids)] * len(conditions), device=model.device)
    with quiet_transformers(), hook_site(model.predictor.base, model.family, site, functions), torch.inference_mode():
        output = model.predictor.whole.generate(  # type: ignore[operator]
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=new_tokens,
            pad_token_id=model.tokenizer.pad_token_id or model.tokenizer.eos_token_id,
            do_sample=False,
        )
    return tuple(str(model.tokenizer.decode(row[len(ids) :], skip_special_tokens=True)) for row in output)


def _apply(
    condition: Condition, layer: int, value: Float[Tensor, "sentences tokens neurons"]
) -> Float[Tensor, "sentences tokens neurons"]:
    return apply_conditions([condition], layer, value[None])[0]


def _sampling(temperature: float) -> dict[str, object]:
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a file, one per line; blank lines are skipped.

    Raises:
        ValueError: the file is missing, is not UTF-8, or has no prompt.
    """
    prompts = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not prompts:
        raise ValueError(f"{path} has no prompts: all lines are blank")
    return prompts
