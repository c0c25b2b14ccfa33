"""Legal values of configuration options; a separate module, so that validation needs no torch."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "dev", "test"]
Site = Literal["residual", "mlp", "mlp_gate", "attention"]
Scope = Literal["layer", "model"]
Sign = Literal["both", "positive", "negative"]
ThresholdKind = Literal["none", "fdr", "permutation"]
Permuted = Literal["sentences", "words"]

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
