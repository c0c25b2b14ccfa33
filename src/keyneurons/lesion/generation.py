"""What the model writes while neurons are changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from keyneurons.activations.capture import passing
from keyneurons.data.reading import read_text
from keyneurons.lesion.conditions import Condition, changed
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


@dataclass(frozen=True)
class Generation:
    """How texts are continued: so many new tokens, greedily at ``temperature`` 0, else sampled with a seed."""

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
    told: Callable[[int], object],
) -> tuple[str, ...]:
    """Continue every prompt under a condition, one after another; each draws from the same seed.

    Args:
        model: the model.
        site: where neurons are changed.
        bos: id of the token in front.
        condition: which are changed and how; nothing is borrowed.
        generation: how.
        told: hears of every prompt that is done.

    Returns:
        What the model wrote, without the prompts.
    """
    device = model.device
    through = {layer: functools.partial(changed, [condition], layer) for layer in condition.layers}
    sampling = {"do_sample": False} if generation.temperature == 0 else _sampled(generation.temperature)
    found = []
    with quiet_transformers(), passing(model.predictor.base, model.family, site, through):
        for prompt in generation.prompts:
            ids = ([] if bos is None else [bos]) + model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            model.check_ids(ids, prompt)
            given = torch.tensor([ids], device=device)
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.inference_mode():
                torch.manual_seed(generation.seed)
                whole = model.predictor.whole.generate(  # type: ignore[operator]
                    given,
                    attention_mask=torch.ones_like(given),
                    max_new_tokens=generation.new_tokens,
                    pad_token_id=model.tokenizer.pad_token_id or model.tokenizer.eos_token_id,
                    **sampling,
                )
            found.append(str(model.tokenizer.decode(whole[0, len(ids) :], skip_special_tokens=True)))
            told(1)
    return tuple(found)


def _sampled(temperature: float) -> dict[str, object]:
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a file, one a line; blank lines are passed over.

    Raises:
        ValueError: there is none, or the file is not there or not UTF-8.
    """
    prompts = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not prompts:
        raise ValueError(f"{path}: a file of prompts needs a line that is not blank")
    return prompts
