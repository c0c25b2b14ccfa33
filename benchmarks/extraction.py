"""Extraction against a bare forward pass of the base model on the same batches, and against other ways to get there.

Run with ``python benchmarks/extraction.py [repeats] [sentences]``. The cache is a temporary folder, so that every
repeat extracts. NeuroX is compared where it can be imported (``pip install --no-deps neurox h5py``, in no way needed
otherwise): its own function reads a sentence and its own writer keeps it; its prints are thrown away.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import in_turns, publish, ratios, spread
from hydra import compose, initialize_config_dir

from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.settings import ReadingSettings
from keyneurons.activations.store import ActivationStore
from keyneurons.config.paths import conf_folder
from keyneurons.config.validation import validate
from keyneurons.data.sources import Starter
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import PackagedSmolLM2
from keyneurons.records import Sentence

BATCH_TOKENS = 1024
BOS = "<|endoftext|>"
EVERY = tuple(range(30))
CASES = {
    "residual, all layers": {"site": "residual", "layers": EVERY},
    "mlp, all layers": {"site": "mlp", "layers": EVERY},
    "residual and mlp, all layers": {"site": "residual", "layers": EVERY, "prefetch": {"mlp": EVERY}},
    **{f"mlp, layer {k}": {"site": "mlp", "layers": (k,)} for k in (4, 8, 16, 24)},
}


def bare_forward(model: LanguageModel, sentences: tuple[Sentence, ...], *, one_by_one: bool) -> Callable[[], None]:
    """The whole base model, without reading anything, on the batches of extraction or on single sentences."""
    encoded = ReadingSettings(model, "mlp", (0,), bos=BOS).encode(sentences)
    lengths = [len(e.ids) for e in encoded]
    plan = [[i] for i in range(len(lengths))] if one_by_one else plan_batches(lengths, BATCH_TOKENS)
    batches = [make_batch([encoded[i] for i in chosen], [0] * len(chosen), pad_left=False) for chosen in plan]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                model.network(**batch.inputs(model.device, causal=True))

    return run


def ours(model: LanguageModel, sentences: tuple[Sentence, ...], **places: object) -> None:
    """Tokenise, run, read, convert and write to an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        reader = partial(
            ActivationReader, model, store=ActivationStore(Path(folder)), bos=BOS, batch_tokens=BATCH_TOKENS
        )
        reader(**places)(sentences, "x")  # type: ignore[arg-type]


def hidden_states(model: LanguageModel, sentences: tuple[Sentence, ...]) -> None:
    """The loop that one would write: a sentence at a time, all hidden states, the last token of each word, np.save."""
    encoded = ReadingSettings(model, "residual", (0,), bos=BOS).encode(sentences)
    found = []
    with torch.inference_mode():
        for e in encoded:
            states = model.network(torch.tensor([e.ids]), output_hidden_states=True, use_cache=False).hidden_states
            last = torch.tensor([b for _, b in e.reads])
            found.append(np.stack([state[0, last].half().numpy() for state in states[1:]]))
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", np.concatenate(found, axis=1))


def neurox(model: LanguageModel, sentences: tuple[Sentence, ...]) -> Callable[[], None] | None:
    """NeuroX's extraction of the same sentences, or None where it is not installed."""
    try:
        from neurox.data.extraction.transformers_extractor import extract_sentence_representations
        from neurox.data.writer import ActivationsWriter
    except ImportError:
        return None
    counts: dict[str, int] = {}

    def forward(ids: torch.Tensor) -> tuple[object, ...]:  # NeuroX takes the last of what the model returns
        return (model.network(ids, output_hidden_states=True, use_cache=False).hidden_states,)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            writer = ActivationsWriter.get_writer(f"{folder}/x.hdf5", filetype="hdf5")
            for i, sentence in enumerate(sentences):
                text = " ".join(word.form for word in sentence.words)
                states, words = extract_sentence_representations(
                    text, forward, model.tokenizer, include_embeddings=False, tokenization_counts=counts
                )
                writer.write_activations(i, words, states)
            writer.close()

    return run


def readable(run: Callable[..., Callable[[], None] | None], model: LanguageModel, found: tuple[Sentence, ...]) -> bool:
    try:
        function = run(model, found)
        if function is not None:
            function()
    except (AssertionError, ValueError):
        return False
    return True


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    n_sentences = int(sys.argv[2]) if len(sys.argv) > 2 else 179
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cache = validate(compose("config")).cache.expanduser()
    model = LanguageModel(PackagedSmolLM2(cache).fetch(), device="cpu")
    sentences = Starter().load().splits["dev"][:n_sentences]
    words = sum(len(s.words) for s in sentences)
    batched = {"bare": bare_forward(model, sentences, one_by_one=False)}
    batched |= {name: partial(ours, model, sentences, **places) for name, places in CASES.items()}
    batched["bare"]()
    times = in_turns(batched, repeats)
    rows = []
    for name, places in CASES.items():
        share = (max(places["layers"]) + 1) / 30  # type: ignore[call-overload]
        wall, cpu = (ratios(times, name, "bare", which) for which in (0, 1))
        rate = words / sorted(wall for wall, _ in times[name])[repeats // 2]
        rows.append([name, f"{share:.2f}", *spread(wall), *spread(cpu)[1:2], f"{rate:.0f}"])
    both = ratios(times, "residual and mlp, all layers", "mlp, all layers")
    publish(
        "extraction",
        "Extraction against a bare forward pass on the same batches",
        ["read", "share of layers", "min", "median", "max", "median, CPU time", "words/s"],
        rows,
        repeats=repeats,
        notes=f"""Time of extraction (tokenising, forward pass, reading, float16, writing, digests) over that of the
        whole base model (SmolLM2-135M, float32) on the same batches of {BATCH_TOKENS} tokens; {words} words. A layer k
        needs (k+1)/30 of the model. Residual and mlp together cost {spread(both)[1]} of mlp alone (median).""",
    )
    others(model, sentences, max(1, repeats // 2))


def others(model: LanguageModel, sentences: tuple[Sentence, ...], repeats: int) -> None:
    """Ours against NeuroX and a plain loop: the residual of all layers."""
    some = tuple(s for s in sentences if readable(neurox, model, (s,)))
    ways: dict[str, Callable[[], object]] = {"ours": partial(ours, model, some, **CASES["residual, all layers"])}
    ways["output_hidden_states, a sentence at a time"] = partial(hidden_states, model, some)
    if (theirs := neurox(model, some)) is not None:
        ways["NeuroX 1.0.9"] = theirs
    ways["bare forward pass, a sentence at a time"] = bare_forward(model, some, one_by_one=True)
    times = in_turns(ways, repeats)
    rows = [[name, *spread(ratios(times, name, "ours")), spread(ratios(times, name, "ours", 1))[1]] for name in ways]
    publish(
        "extraction_others",
        "Other ways to the residual of all layers, against ours",
        ["way", "min", "median", "max", "median, CPU time"],
        rows,
        repeats=repeats,
        notes=f"""Time over that of ours, for the {len(some)} of {len(sentences)} sentences that NeuroX can align.
        NeuroX {"reads" if theirs else "was not installed; it reads"} a sentence at a time, keeps float64 and writes
        HDF5; its model is called with hidden states asked for, otherwise it is as published.""",
    )


if __name__ == "__main__":
    main()
