"""A script that reads a tiny model's activations, logs every forward pass and may kill itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from models import sentences

from keyneurons.activations import partial
from keyneurons.activations.capture import Capture
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

if __name__ == "__main__":
    folder, log, kill_after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    run = Capture.__call__

    def noted(self, inputs, take):
        if len(log.read_text()) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        with log.open("a") as file:
            file.write(".")
        time.sleep(0.02)
        return run(self, inputs, take)

    Capture.__call__ = noted
    partial.CHECKPOINT_SECONDS = -1
    model = LanguageModel(LocalModel(folder / "tiny", folder / "cache").fetch(), device="cpu")
    read = ActivationReader(model, "mlp", (0, 2), batch_tokens=30, store=ActivationStore(folder / "store"))
    _ = model.network
    if len(sys.argv) > 4:  # wait for the other process
        Path(sys.argv[4]).touch()
        while not Path(sys.argv[5]).exists():
            time.sleep(0.01)
    read(sentences(), "x")
