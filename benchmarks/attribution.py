"""Attribution against one pass of the whole sentence for every word, layer and step.

    python benchmarks/attribution.py [--words 36] [--single 40] [--model FOLDER]

Ours attributes some words of the starter treebank to all feed-forward neurons; the other way, of which a sample is
timed and scaled up, runs the whole sentence with the activation replaced where the word is predicted, once for each of
the 21 points (20 nodes and the baseline) of each layer, forwards and backwards. Both are in one process, in turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import platform
import resource
import time
from pathlib import Path

import numpy as np
import torch

from keyneurons.activations.capture import passing
from keyneurons.activations.extract import make_batch
from keyneurons.activations.models import LanguageModel, LocalModel, PackagedSmolLM2
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.attribution.method import Attribution, GradientXActivation, IntegratedGradients
from keyneurons.attribution.reader import AttributionReader
from keyneurons.attribution.targets import Targets
from keyneurons.data.labels import label
from keyneurons.data.sources import Starter
from keyneurons.records import Sentence

MEMORY = 512 * 2**20
CACHE = Path(os.environ.get("KEYNEURONS_CACHE", "~/.cache/keyneurons")).expanduser()


def reader(model: LanguageModel, method: Attribution) -> AttributionReader:
    layers = tuple(range(model.n_layers))
    read = ActivationReader(
        model, ActivationStore(CACHE / "activations"), "mlp", layers, bos="<|endoftext|>", read_at="prediction"
    )
    return AttributionReader(read, method, MEMORY)


def ours(read: AttributionReader, sentences: tuple[Sentence, ...], targets: Targets, words) -> tuple[float, np.ndarray]:
    """Seconds, and attributions [layers, words, columns]."""
    start = time.perf_counter()
    width = read.read.model.width("mlp") + (read.method.along.copies > 1)
    found = np.empty((read.read.model.n_layers, len(targets.rows), width), dtype=np.float32)
    for rows, values in read.stream(sentences, targets, words):
        for layer, value in values.items():
            found[layer, rows] = value.numpy()
    return time.perf_counter() - start, found


def one_at_a_time(
    read: AttributionReader, encoded, targets: Targets, word: int, layer: int
) -> tuple[float, np.ndarray]:
    """Seconds and attributions of one word and layer, the whole sentence at each step."""
    model = read.read.model
    batch = make_batch([encoded[targets.sentence[word]]], [0], pad_left=False)
    inputs, position = batch.inputs(model.device), int(targets.position[word])
    token = torch.tensor([targets.token[word]])
    recorded: list[torch.Tensor] = []
    with (
        torch.no_grad(),
        passing(model.predictor.base, model.family, "mlp", {layer: lambda x: recorded.append(x[0, position])}),
    ):
        model.predictor.base(**inputs)
    activation = recorded[0]
    nodes, weights = read.method.along.quadrature.nodes_and_weights()
    start = time.perf_counter()
    total = torch.zeros_like(activation)
    for node, weight in zip([0.0, *nodes], [0.0, *weights], strict=True):
        leaf = (node * activation).requires_grad_()

        def replaced(value: torch.Tensor, leaf: torch.Tensor = leaf) -> torch.Tensor:
            value = value.clone()
            value[0, position] = leaf
            return value

        with passing(model.predictor.base, model.family, "mlp", {layer: replaced}):
            hidden = model.predictor.base(**inputs).last_hidden_state[0, position]
        probability = model.predictor.log_probability(hidden[None], token).exp()
        total += weight * torch.autograd.grad(probability.sum(), leaf)[0]
    return time.perf_counter() - start, (activation * total).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=36)
    parser.add_argument("--single", type=int, default=40, help="pairs of word and layer timed one at a time")
    parser.add_argument("--model", type=Path, default=None)
    options = parser.parse_args()
    source = LocalModel(options.model, CACHE) if options.model else PackagedSmolLM2(CACHE)
    model = LanguageModel(source.fetch())
    treebank = Starter().load()
    sentences = treebank.splits["train"]
    labels = label(treebank, "upos", ("NOUN", "VERB", "ADJ", "ADV"), 20, first_words=False)
    words = labels.splits["train"]
    integrals = reader(model, IntegratedGradients(words_per_tag=options.words // 4))
    targets, _ = integrals.sample(sentences, words, labels.names, 0)
    encoded = integrals.encoded(sentences)
    rng = np.random.default_rng(0)
    integrals.read.model.predictor  # noqa: B018 (loaded before the clock starts)
    pairs = [(int(rng.integers(len(targets.rows))), int(rng.integers(model.n_layers))) for _ in range(options.single)]
    seconds, apart = [one_at_a_time(integrals, encoded, targets, *pair) for pair in pairs[: options.single // 2]], []
    layer_time, found = ours(integrals, sentences, targets, words)
    seconds += [one_at_a_time(integrals, encoded, targets, *pair) for pair in pairs[options.single // 2 :]]
    for (word, layer), (_, expected) in zip(pairs, seconds, strict=True):
        apart.append(np.abs(found[layer, word, :-1] - expected).max() / np.abs(expected).max())
    single = np.median([s for s, _ in seconds]) * model.n_layers
    sums = np.abs(found[:, :, :-1].sum(2) - found[:, :, -1]).sum(1) / np.abs(found[:, :, -1]).sum(1)
    joint = reader(model, IntegratedGradients(path="joint"))
    joint_time, joined = ours(joint, sentences, targets, words)
    gradient = reader(model, GradientXActivation(words_per_tag=options.words // 4 * 10))
    many, _ = gradient.sample(sentences, words, labels.names, 0)
    gradient_time, _ = ours(gradient, sentences, many, words)
    each = [
        t / n
        for t, n in ((layer_time, len(targets.rows)), (joint_time, len(targets.rows)), (gradient_time, len(many.rows)))
    ]
    print(
        f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {model.files.id} {model.dtype}"
    )
    print(f"{model.n_layers} layers x {model.width('mlp')} neurons, budget {MEMORY // 2**20} MiB")
    print(f"{'':34}{'words':>6}{'s a word':>10}{'200 words':>11}")
    print(f"{'path=layer, 20 steps':34}{len(targets.rows):>6}{each[0]:>10.3f}{each[0] * 200 / 60:>7.1f} min")
    print(f"{'path=joint, 20 steps':34}{len(targets.rows):>6}{each[1]:>10.3f}{each[1] * 200 / 60:>7.1f} min")
    print(f"{'gradient x activation':34}{len(many.rows):>6}{each[2]:>10.4f}{each[2] * 200 / 60:>7.2f} min")
    print(
        f"{'one (word, layer, step) at a time':34}{options.single:>6}{single:>10.3f}{single * 200 / 60:>7.1f} min (est.)"
    )
    print(
        f"path=layer is {single / each[0]:.1f} times as fast; largest difference {max(apart):.1e} of the largest attribution"
    )
    worst = int(sums.argmax())
    print(
        f"completeness residual: median layer {np.median(sums):.1e}, worst {sums[worst]:.1e} (layer {worst}), ", end=""
    )
    total = joined[:, :, :-1].sum((0, 2)) - joined[0, :, -1]
    print(f"joint {np.abs(total).sum() / np.abs(joined[0, :, -1]).sum():.2g}")
    print(f"peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
