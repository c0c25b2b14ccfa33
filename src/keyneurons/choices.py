"""Names that a configuration chooses among; apart from the records, so that a typing error is told without torch."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "dev", "test"]
Site = Literal["residual", "mlp", "mlp_gate", "attention"]
Scope = Literal["layer", "model"]
Sign = Literal["both", "positive", "negative"]
ThresholdKind = Literal["none", "fdr", "permutation"]
Permuted = Literal["sentences", "words"]

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
