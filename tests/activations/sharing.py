"""A script that reads a tiny model's activations in several processes, which log their passes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from models import sentences

from keyneurons.activations import partial
from keyneurons.activations.capture import Capture
from keyneurons.activations.processes import Processes
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

folder, store, devices, *wrong = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
run = Capture.__call__


def noted(self, inputs, take):
    """Log a pass; on request exit after two passes, or insert a value beyond float16.

    A process exits only after the other one has made two passes and both have written their rows.
    """
    log = folder / f"{store}-passes-{os.environ.get('LOCAL_RANK', 0)}"
    done = log.read_text() if log.exists() else ""
    if (folder / f"{store}-stop").exists() and len(done) == 2:
        while [len(other.read_text()) for other in folder.glob(f"{store}-passes-*")] != [2, 2]:
            time.sleep(0.05)
        time.sleep(1)
        os._exit(1)
    log.write_text(done + ".")
    if not wrong:
        return run(self, inputs, take)

    def spoilt(hidden):
        hidden = hidden.clone()
        hidden[..., 3] = 1e6
        return take(hidden)

    return run(self, inputs, spoilt)


# at module level, since spawned processes import this file again
Capture.__call__ = noted
partial.CHECKPOINT_SECONDS = -1
torch.set_num_threads(1)

if __name__ == "__main__":
    model = LanguageModel(LocalModel(folder / "tiny", folder / "cache").fetch(), device="auto")
    read = ActivationReader(
        model,
        "residual",
        (0, 2),
        batch_tokens=1,
        store=ActivationStore(folder / store),
        prefetch={"mlp": (1,)},
        processes=Processes("cpu", devices),
    )
    read(sentences(), "x")
