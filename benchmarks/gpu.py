"""Time of extraction, scoring and probe training on a GPU, with a Llama 3 8B of random weights.

Run with ``python benchmarks/gpu.py [repeats]``. ``--tiny`` runs the same code on the CPU with a
small model and writes no result; the benchmark has not been run on a GPU yet.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from common import Times, publish, ratios, show, spread, time_in_turns
from probe import CLASSES, data, settings, trainer
from transformers import AutoModel, LlamaConfig

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import capture
from keyneurons.activations.extract import extract, make_batch, plan_batches
from keyneurons.models.families import family_of
from keyneurons.plan.costs import Passes, forward_flops
from keyneurons.probe.fit import ProbeTask, train_probes
from keyneurons.records import Site
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.moments import moments_of

PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165}
"""Peak dense bfloat16 operations per second of some GPUs, in 10^12, from their data sheets."""

COLUMNS = ["quantity", "ratio or share: min", "median", "max", "median rate or time", "target"]


@dataclass(frozen=True)
class Size:
    """Sizes of the model, the text, and the data of scores and probes."""

    config: LlamaConfig
    sentences: int
    batch_tokens: int
    scored: tuple[int, int]
    probed: tuple[int, int]


LARGE = Size(
    LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
    sentences=2000,
    batch_tokens=16384,
    scored=(1_000_000, 4096),
    probed=(20_000, 4096),
)
TINY = Size(
    LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    ),
    sentences=20,
    batch_tokens=256,
    scored=(2000, 64),
    probed=(300, 64),
)


def text(size: Size) -> list[Encoded]:
    """Sentences of random tokens; a word has one or two tokens, as with Llama's tokenizer."""
    rng = np.random.default_rng(0)
    sentences = []
    for n_words in rng.integers(4, 41, size.sentences):
        last = np.cumsum(1 + (rng.random(n_words) < 0.2))  # BOS is token 0
        ids = rng.integers(0, size.config.vocab_size, last[-1] + 1)
        sentences.append(Encoded(tuple(map(int, ids)), tuple((int(at), int(at)) for at in last)))
    return sentences


def extraction(size: Size, device: torch.device, timed: Callable[..., Times], repeats: int) -> list[list[object]]:
    """Compare reading all layers with a bare forward pass, and the pass with the GPU's peak."""
    with torch.device(device):
        model = AutoModel.from_config(size.config, dtype=torch.bfloat16).eval()
    encoded, layers = text(size), tuple(range(size.config.num_hidden_layers))
    lengths, words = [len(e.ids) for e in encoded], [len(e.reads) for e in encoded]
    plan = plan_batches(lengths, size.batch_tokens)

    @torch.inference_mode()
    def bare() -> None:
        for chosen in plan:
            batch = make_batch([encoded[i] for i in chosen], [0] * len(chosen), pad_left=False)
            model(**batch.inputs(device, causal=True))

    def read(sites: tuple[Site, ...]) -> None:
        with capture(model, family_of("llama", None), {site: layers for site in sites}) as reading:
            for _, taken in extract(encoded, plan, reading, device, torch.float16, causal=True):
                deque((kept.check("it") for of_site in taken.values() for kept in of_site.values()), maxlen=0)

    sites: dict[str, tuple[Site, ...]] = {"residual": ("residual",), "mlp": ("mlp",), "both": ("residual", "mlp")}
    times = timed({"bare": bare} | {name: partial(read, own) for name, own in sites.items()}, repeats)
    seconds = median(wall for wall, _ in times["bare"])
    tokens = f"{sum(lengths) / seconds:.0f} tokens/s bare"
    targets = {"residual": "at most 1.10"}
    rows: list[list[object]] = [
        [
            f"{name} of all layers / bare forward pass",
            *spread(ratios(times, name, "bare")),
            tokens,
            targets.get(name, ""),
        ]
        for name in sites
    ]
    run = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name)
    flops = forward_flops(run, len(layers), size.config.hidden_size, Passes.of(plan, lengths, words))
    rates = sorted(flops / wall / 1e12 for wall, _ in times["bare"])
    peak = next((peak for card, peak in PEAKS.items() if device.type == "cuda" and card in _card()), None)
    shares = ["unknown"] * 3 if peak is None else spread([rate / peak for rate in rates])
    rows.append(["bare forward pass / peak in bfloat16", *shares, f"{median(rates):.3g} TFLOP/s", ""])
    return rows


def scoring(size: Size, device: torch.device, timed: Callable[..., Times], repeats: int) -> list[list[object]]:
    """Bandwidth of correlation on the GPU, as a share of the bandwidth of a copy."""
    values = torch.randn(size.scored, device=device, dtype=torch.float16)
    tags = torch.arange(len(values), device=device) % CLASSES
    place = torch.empty_like(values)
    ways = {
        "copy": lambda: place.copy_(values),
        "correlation": lambda: Correlation().of_moments(moments_of(values, tags, CLASSES)),
    }
    times = timed(ways, repeats)
    reads_and_writes = 2  # accesses of a copy to each number; scoring reads each number once
    shares = [share / reads_and_writes for share in ratios(times, "copy", "correlation")]
    size_of = values.numel() * values.element_size()
    rate = f"{reads_and_writes * size_of / median(wall for wall, _ in times['copy']) / 1e9:.0f} GB/s copied"
    shape = " x ".join(f"{n:,}" for n in size.scored)
    return [[f"correlation over {shape} float16 / bandwidth", *spread(shares), rate, "at least .60"]]


def probing(size: Size, timed: Callable[..., Times], repeats: int) -> list[list[object]]:
    """Time one probe on all neurons, and 25 control probes on 150 neurons in one fit."""
    features, labels = data(*size.probed)
    rng = np.random.default_rng(1)
    width = min(150, size.probed[1])
    columns = np.stack([rng.choice(size.probed[1], width, replace=False) for _ in range(25)])
    train = partial(train_probes, features, settings=settings(1.0), trainer=trainer(), seed=0)
    tasks = {
        "whole": ProbeTask(np.arange(size.probed[1])[None], labels, CLASSES),
        "one": ProbeTask(columns[:1], labels, CLASSES),
        "25": ProbeTask(columns, {split: y.expand(25, -1) for split, y in labels.items()}, CLASSES),
    }
    times = timed({name: partial(train, [task]) for name, task in tasks.items()}, repeats)
    seconds = {name: f"{median(wall for wall, _ in own):.2f} s" for name, own in times.items()}
    shape = " x ".join(f"{n:,}" for n in size.probed)
    return [
        [
            f"one probe on {shape} / one on {width} neurons",
            *spread(ratios(times, "whole", "one")),
            seconds["whole"],
            "",
        ],
        [f"25 probes on {width} neurons / one", *spread(ratios(times, "25", "one")), seconds["25"], "at most 3"],
    ]


def synchronised_timer(device: torch.device) -> Callable[..., Times]:
    """Return ``time_in_turns`` with a warm-up call and with synchronisation after every call."""

    def synchronised(function: Callable[[], Any]) -> None:
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def timed(ways: dict[str, Callable[[], Any]], repeats: int) -> Times:
        for function in ways.values():
            synchronised(function)
        return time_in_turns({name: partial(synchronised, function) for name, function in ways.items()}, repeats)

    return timed


def _card() -> str:
    return torch.cuda.get_device_name()


def main() -> None:
    tiny = "--tiny" in sys.argv
    repeats = next((int(argument) for argument in sys.argv[1:] if argument.isdigit()), 1 if tiny else 5)
    if not tiny and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; --tiny runs the same code on the CPU with a small model")
    size, device = (TINY, torch.device("cpu")) if tiny else (LARGE, torch.device("cuda"))
    timed = synchronised_timer(device)
    rows = [*extraction(size, device, timed, repeats), *scoring(size, device, timed, repeats)]
    rows += probing(size, timed, repeats)
    if tiny:
        show("Tiny, on the CPU", COLUMNS, rows)
        return
    publish(
        "gpu",
        "GPU: Llama 3 8B with random weights in bfloat16",
        COLUMNS,
        rows,
        repeats=repeats,
        notes=f"""{size.sentences} sentences of random tokens in batches of {size.batch_tokens}; activations are pooled,
        converted to float16, checked and copied to the CPU, but not written. Operations are counted by the formula of
        `keyneurons plan`. The reference bandwidth is that of a copy on the GPU in the same run.""",
    )


if __name__ == "__main__":
    main()
