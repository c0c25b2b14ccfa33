"""The figures that the project wants to reach, shown beside those measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REACH: Mapping[str, Mapping[str, str]] = {
    "extraction": {
        "residual, all layers": "at most 1.03",
        "mlp, all layers": "at most 1.08",
        "residual and mlp, all layers": "at most 1.12",
    },
    "extraction_others": {"NeuroX 1.0.9": "at least 2.0"},
    "run": {"default run, cached activations": "0.7 of the version before, run in turn"},
    "gpu": {
        "bare forward pass / peak in bfloat16": "0.60",
        "residual of all layers / bare forward pass": "1.05",
        "mlp of all layers / bare forward pass": "1.10",
        "residual and mlp of all layers / bare forward pass": "1.15",
        "correlation over 1,000,000 x 4,096 float16 / bandwidth of a copy": "0.60",
        "one probe on 20,000 x 4,096, 17 tags": "0.10 s",
        "EWT, residual of 30 layers of SmolLM2: keyneurons extract": "15 s",
        "EWT, residual of layer 9, cached default run": "10 s beside imports",
        "starter, mlp of layer 8, lesion=zero": "under 5 minutes",
    },
}
"""By result file and first cell of the row."""


def with_reach(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The table with a column of the figures to reach, if there are any."""
    if name not in REACH:
        return list(columns), [list(row) for row in rows]
    return [*columns, "reach"], [[*row, REACH[name].get(row[0], "")] for row in rows]
