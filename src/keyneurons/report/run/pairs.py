"""Minimal pairs in the summary of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from keyneurons.pipeline.lesions.pairs import PairEffect, Pairs
from keyneurons.pipeline.lesions.plan import LesionStudy
from keyneurons.report.phrases import counted

MOST = 8  # comparisons that are named


def pair_facts(pairs: Pairs, study: LesionStudy) -> Iterator[str]:
    """Accuracy on all pairs, and the comparisons by phenomenon that are significant."""
    by_tag = ", ".join(
        f"{tag} {effect.lesioned:.3f} ({study.families[0]} sets {effect.control_mean:.3f}, p {effect.p_value:.3f})"
        for tag, effect in pairs.every.effects.items()
    )
    yield f"minimal pairs judged correctly: {pairs.every.intact:.3f} intact; under lesions {by_tag}"
    if (least := 1 / (1 + study.sets)) > study.alpha:
        yield (
            f"with {study.sets} sets, p of minimal pairs is at least {least:.3f}: "
            f"use lesion.sets={math.ceil(1 / study.alpha - 1e-9) - 1}"
        )
        return
    compared = [(group.name, *named) for group in pairs.groups for named in group.effects.items()]
    hurt = [f"{name} by {tag}" for name, tag, effect in compared if effect.p_value <= study.alpha]
    named = f": {', '.join(hurt[:MOST])}{', ...' if len(hurt) > MOST else ''}" if hurt else ""
    yield (
        f"pairs by phenomenon: {len(hurt)} of {counted(len(compared), 'comparison')} have p <= {study.alpha:g}, "
        f"at most {study.alpha * len(compared):.1f} expected by chance{named}"
    )


def pair_rows(pairs: Pairs, family: str) -> tuple[tuple[str, ...], ...]:
    """Table of languages and phenomena, head first: pairs, intact, each tag under its lesion."""
    head = ("phenomenon", "pairs", "intact", *(f"{tag} ({family}; p)" for tag in pairs.every.effects))
    rows = [
        (group.name, str(group.pairs), f"{group.intact:.3f}", *map(_shown, group.effects.values()))
        for group in (pairs.every, *pairs.groups)
    ]
    return head, *rows


def _shown(effect: PairEffect) -> str:
    return f"{effect.lesioned:.3f} ({effect.control_mean:.3f}; {effect.p_value:.3f})"
