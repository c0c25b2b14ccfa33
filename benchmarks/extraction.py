"""Extraction against a bare forward pass of the base model on the same batches, in turns, as ratios.

Run with ``python benchmarks/extraction.py [repeats]``. The cache is a temporary folder, so that every repeat extracts.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.activations.models import LanguageModel, PackagedSmolLM2
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.config import validate
from keyneurons.data.sources import Starter
from keyneurons.paths import conf_folder
from keyneurons.records import Sentence

BATCH_TOKENS = 1024
BOS = "<|endoftext|>"
CASES = {
    "residual, all 30 layers": ("residual", tuple(range(30)), 1.0),
    "mlp, all 30 layers": ("mlp", tuple(range(30)), 1.0),
    "mlp, layer 8": ("mlp", (8,), 9 / 30),
}


def bare_forward(model: LanguageModel, sentences: tuple[Sentence, ...]) -> Callable[[], None]:
    """The whole base model on the batches that extraction makes, without reading anything."""
    encoded = ActivationReader(model, ActivationStore(Path()), "mlp", (0,), bos=BOS).encode(sentences)
    plan = plan_batches([len(e.ids) for e in encoded], BATCH_TOKENS)
    batches = [make_batch([encoded[i] for i in chosen], [0] * len(chosen), pad_left=False) for chosen in plan]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                model.network(**batch.inputs(model.device))

    return run


def extraction(model: LanguageModel, sentences: tuple[Sentence, ...], site: str, layers: tuple[int, ...]) -> None:
    """Tokenise, run, read, convert and write to an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        reader = ActivationReader(
            model,
            ActivationStore(Path(folder)),
            site,
            layers,
            bos=BOS,
            batch_tokens=BATCH_TOKENS,  # type: ignore[arg-type]
        )
        reader(sentences, "benchmark")


def seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cache = validate(compose("config")).cache.expanduser()
    model = LanguageModel(PackagedSmolLM2(cache).fetch(), device="cpu")
    sentences = Starter().load().splits["dev"]
    words = sum(len(s.words) for s in sentences)
    bare = bare_forward(model, sentences)
    bare()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"SmolLM2-135M float32, {words} words, {BATCH_TOKENS} tokens a batch, {repeats} repeats in turns")
    print("time of extraction / time of the bare forward pass")
    print(f"{'extraction':26} {'words/s':>8} {'min':>6} {'median':>7} {'max':>6} {'share of layers run':>20}")
    for name, (site, layers, share) in CASES.items():
        ours = partial(extraction, model, sentences, site, layers)
        pairs = [(seconds(ours), seconds(bare)) for _ in range(repeats)]
        ratios = sorted(one / other for one, other in pairs)
        rate = words / sorted(one for one, _ in pairs)[repeats // 2]
        middle = ratios[repeats // 2]
        print(f"{name:26} {rate:8.0f} {ratios[0]:6.2f} {middle:7.2f} {ratios[-1]:6.2f} {share:20.2f}")


if __name__ == "__main__":
    main()
