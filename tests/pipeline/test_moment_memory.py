"""The memory of gathering moments does not grow with the number of words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from models import save_tiny_model

CODE = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from models import sentences
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.pipeline.moments import MomentReader
from keyneurons.records import Treebank
from keyneurons.selection.tagged_words import TaggedWords
from keyneurons.selection.views import VALUE

folder, copies = Path(sys.argv[1]), int(sys.argv[2])
model = LanguageModel(LocalModel(folder / "tiny", folder).fetch(), device="cpu")
every = tuple(replace(s, id=f"{s.id}-{i}") for i in range(copies) for s in sentences())
treebank = Treebank("toy", {"train": every})
read = ActivationReader(model, "mlp", tuple(range(20)), store=ActivationStore(folder / f"cache{copies}"))
n = treebank.n_words("train")
moments = MomentReader(read, treebank)([TaggedWords(np.arange(n), np.arange(n) % 4, 4)], [VALUE])
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_words(tmp_path: Path) -> None:
    """The activations of the longer text would take 20 layers x 512 x 2 bytes for each word."""
    save_tiny_model(tmp_path / "tiny", layers=20, intermediate_size=512)
    words, peaks = [], []
    for copies in (20, 160):
        command = [sys.executable, "-c", CODE, str(tmp_path), str(copies)]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        n, peak = map(int, done.stdout.split())
        words.append(n)
        peaks.append(peak)
    activations = (words[1] - words[0]) * 20 * 512 * 2 / 2**20
    assert activations > 200
    assert peaks[1] - peaks[0] < activations / 3  # the sentences themselves take some
