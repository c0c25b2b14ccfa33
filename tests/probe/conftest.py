"""Synthetic words, tags and activations, and the settings of conf/."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from keyneurons.probe.fit import ProbeSettings
from keyneurons.records import Split

SIZES: dict[Split, int] = {"train": 3000, "dev": 1200, "test": 1500}
Data = tuple[dict[Split, Tensor], dict[Split, Tensor]]


@pytest.fixture
def settings() -> ProbeSettings:
    """The values of conf/probe/linear.yaml."""
    return ProbeSettings(
        partial(torch.optim.Adam, lr=0.07, betas=(0.9, 0.98), fused=True), batch_size=256, patience=3, C=1.0
    )


@pytest.fixture
def trainer() -> Callable[[], lightning.Trainer]:
    """The values of conf/trainer/cpu.yaml."""
    return partial(
        lightning.Trainer,
        accelerator="cpu",
        devices=1,
        max_epochs=100,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture(scope="session")
def words() -> Data:
    """Float16 activations of 60 correlated, badly scaled columns, and 6 classes, some rare."""
    rng = np.random.default_rng(0)
    classes, latent, width = 6, 20, 60
    means = rng.normal(size=(classes, latent)) * 0.9
    mixing = rng.normal(size=(latent, width)) / latent**0.5 * rng.lognormal(0, 2, (1, width))
    features: dict[Split, Tensor] = {}
    labels: dict[Split, Tensor] = {}
    for split, n in SIZES.items():
        tags = rng.choice(classes, n, p=[0.4, 0.25, 0.2, 0.1, 0.03, 0.02])
        values = (means[tags] + rng.normal(size=(n, latent))) @ mixing + 5
        features[split] = torch.from_numpy(values.astype(np.float16))
        labels[split] = torch.from_numpy(tags)[None]
    return features, labels
