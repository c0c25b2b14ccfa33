"""Factors of runs: the params that differ between them, and how tables name these."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from keyneurons.models.permuted import describe_weights
from keyneurons.models.revisions import step_of

FIRST = ("choice.model", "choice.dataset", "site", "layer", "choice.basis", "choice.selection", "top_k")
NOT_FACTORS = ("tracking.", "cache", "hydra.", "report.")


def differing_params(params: Sequence[Mapping[str, str]], derived: Sequence[Collection[str]]) -> tuple[str, ...]:
    """The params that differ between runs, the most informative first.

    Excluded are settings of tracking and cache, params whose values follow from other params in
    every run that has them, and params determined by the option of a group, such as the target of
    ``choice.selection`` and its arguments.

    Args:
        params: The params of every run.
        derived: The keys of every run whose values follow from others, or whose parts do.
    """
    every = {key for own in params for key in own if not key.startswith(NOT_FACTORS)}
    differ = {key for key in every if len({own.get(key) for own in params}) > 1}
    differ -= {key for key in differ if _is_derived(key, params, derived)}
    chosen = {key.removeprefix("choice."): key for key in differ if key.startswith("choice.")}

    def is_independent(key: str) -> bool:
        choice = chosen.get(key.partition(".")[0])
        if choice is None or key == choice:
            return True
        pairs = {(own.get(choice), own.get(key)) for own in params}
        return len(pairs) > len({option for option, _ in pairs})

    kept = sorted(key for key in differ if is_independent(key))
    return (*(key for key in FIRST if key in kept), *(key for key in kept if key not in FIRST))


def _is_derived(key: str, params: Sequence[Mapping[str, str]], derived: Sequence[Collection[str]]) -> bool:
    parts = key.split(".")
    above = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return all(above & {*keys} for own, keys in zip(params, derived, strict=True) if key in own)


def identifying(params: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """The keys of ``FIRST``, and further keys as long as they distinguish more runs."""

    def n_distinct(chosen: Sequence[str]) -> int:
        return len({tuple(own.get(key) for key in chosen) for own in params})

    chosen = [key for key in keys if key in FIRST]
    for key in keys:
        if key not in FIRST and n_distinct([*chosen, key]) > n_distinct(chosen):
            chosen.append(key)
    return chosen


def short(key: str) -> str:
    """The name of a param in the head of a table."""
    return key.removeprefix("choice.")


def describe(factors: Mapping[str, str]) -> str:
    """Short description of the values of some factors."""
    return ", ".join(_describe(key, value) for key, value in factors.items() if value != "")


def _describe(key: str, value: str) -> str:
    if key in ("choice.selection", "choice.model", "choice.dataset", "site"):
        return value
    if key == "model.random_weights":
        return describe_weights(number(value))
    name = "k" if key == "top_k" else short(key)
    return f"{name} {value.rstrip('/').rpartition('/')[2]}"  # the last part of a path


def number(text: str) -> int | None:
    """The number that a text is, or None."""
    try:
        return int(text)
    except ValueError:
        return None


def sortable(value: str) -> tuple[bool, float, str]:
    """Sort key: numbers in numerical order, before all other text; checkpoints by their step."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, float(step_of(value) or 0), value)
