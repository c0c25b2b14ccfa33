"""Judges all claims by the runs that measured them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keyneurons.report.claims.literature import CLAIMS
from keyneurons.report.claims.records import Judged, MeasuredRun
from keyneurons.report.claims.result_claims import accuracy_claim, classes_claim, null_claim, paper_accuracy_claim
from keyneurons.report.claims.set_claims import layers_claim, overlap_claim, paper_share_claim, union_claim

RULES: Mapping[str, Callable[[Sequence[MeasuredRun]], Judged]] = {
    "union": union_claim,
    "accuracy": accuracy_claim,
    "overlap": overlap_claim,
    "layers": layers_claim,
    "paper accuracy": paper_accuracy_claim,
    "paper share": paper_share_claim,
    "classes": classes_claim,
    "null": null_claim,
}


def judge(runs: Sequence[MeasuredRun]) -> tuple[Judged, ...]:
    """Judge all claims in the order of ``CLAIMS``; one that no run measured cannot be told."""
    return tuple(RULES[name](runs) for name in CLAIMS)
