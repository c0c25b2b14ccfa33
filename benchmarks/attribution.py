"""Attribution against one pass of the whole sentence for every word, layer and step.

Run with ``python benchmarks/attribution.py [--words 36] [--single 40] [--model FOLDER]``. Ours attributes words of the
starter treebank to all feed-forward neurons. The other way runs the whole sentence, forwards and backwards, with the
activation replaced where the word is predicted, once for each of 21 points (20 nodes and the baseline) of a layer; a
sample of words and layers is timed, half before ours and half after it, and scaled up.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import resource
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from common import publish

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import hook_site
from keyneurons.activations.extract import make_batch
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.attribution.method import Attribution, GradientXActivation, IntegratedGradients
from keyneurons.attribution.reader import AttributionReader
from keyneurons.attribution.targets import Targets
from keyneurons.data.labels import label
from keyneurons.data.sources import Starter
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel, PackagedSmolLM2
from keyneurons.records import SPLITS, Labels, Sentence

MEMORY = 512 * 2**20
CACHE = Path(os.environ.get("KEYNEURONS_CACHE", "~/.cache/keyneurons")).expanduser()
TAGS = ("NOUN", "VERB", "ADJ", "ADV")


@dataclass
class Bench:
    """A model and the words that it is asked about."""

    model: LanguageModel
    sentences: tuple[Sentence, ...]
    labels: Labels

    def read(self, method: Attribution) -> AttributionReader:
        layers = tuple(range(self.model.n_layers))
        store = ActivationStore(CACHE / "activations")
        read = ActivationReader(self.model, "mlp", layers, bos="<|endoftext|>", read_at="prediction", store=store)
        return AttributionReader(read, method, MEMORY)

    @cached_property
    def encoded(self) -> list[Encoded]:
        return self.read(IntegratedGradients()).encoded(self.sentences)

    def ours(self, method: Attribution) -> tuple[float, Targets, np.ndarray]:
        """Seconds, the words, and their attributions ``[layers, words, columns]``."""
        read, words = self.read(method), self.labels.splits["train"]
        targets, _ = read.sample(self.sentences, words, self.labels.names, 0)
        found = np.empty((self.model.n_layers, len(targets.rows), read._columns), dtype=np.float32)
        start = time.perf_counter()
        for rows, values in read.stream(self.sentences, targets, words):
            for layer, value in values.items():
                found[layer, rows] = value.numpy()
        return time.perf_counter() - start, targets, found

    def one_at_a_time(self, targets: Targets, word: int, layer: int, steps: int) -> tuple[float, np.ndarray]:
        """Seconds, and the attributions of one word to one layer."""
        predictor, family = self.model.predictor, self.model.family
        batch = make_batch([self.encoded[targets.sentence[word]]], [0], pad_left=False)
        inputs, position = batch.inputs(self.model.device), int(targets.position[word])
        token = torch.tensor([targets.token[word]])
        recorded: list[torch.Tensor] = []
        with (
            torch.no_grad(),
            hook_site(predictor.base, family, "mlp", {layer: lambda x: recorded.append(x[0, position])}),
        ):
            predictor.base(**inputs)
        nodes, weights = IntegratedGradients(steps=steps).along.quadrature.nodes_and_weights()
        start, total = time.perf_counter(), torch.zeros_like(recorded[0])
        for node, weight in zip([0.0, *nodes], [0.0, *weights], strict=True):
            leaf = (node * recorded[0]).requires_grad_()

            def put(value: torch.Tensor, leaf: torch.Tensor = leaf) -> torch.Tensor:
                value = value.clone()
                value[0, position] = leaf
                return value

            with hook_site(predictor.base, family, "mlp", {layer: put}):
                hidden = predictor.base(**inputs).last_hidden_state[0, position]
            probability = predictor.log_probability(hidden[None], token).exp()
            total += weight * torch.autograd.grad(probability.sum(), leaf)[0]
        return time.perf_counter() - start, (recorded[0] * total).numpy()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, as a share of the largest magnitude."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=36)
    parser.add_argument("--single", type=int, default=40, help="pairs of word and layer timed one at a time")
    parser.add_argument("--model", type=Path, default=None)
    options = parser.parse_args()
    source = LocalModel(options.model, CACHE) if options.model else PackagedSmolLM2(CACHE)
    treebank = Starter().load()
    labels = label(treebank, "upos", TAGS, 20, first_words=False)
    bench = Bench(LanguageModel(source.fetch()), treebank.splits[SPLITS[0]], labels)
    model, each_tag = bench.model, options.words // len(TAGS)
    integrals = IntegratedGradients(words_per_tag=each_tag)
    targets, _ = bench.read(integrals).sample(bench.sentences, labels.splits["train"], labels.names, 0)
    rng = np.random.default_rng(0)
    pairs = [(int(rng.integers(len(targets.rows))), int(rng.integers(model.n_layers))) for _ in range(options.single)]
    half = len(pairs) // 2
    bench.one_at_a_time(targets, *pairs[0], steps=1)  # loads the model
    singles = [bench.one_at_a_time(targets, *pair, steps=20) for pair in pairs[:half]]
    layer_time, _, found = bench.ours(integrals)
    singles += [bench.one_at_a_time(targets, *pair, steps=20) for pair in pairs[half:]]
    joint_time, _, joint = bench.ours(IntegratedGradients(path="joint", words_per_tag=each_tag))
    gradient_time, many, _ = bench.ours(GradientXActivation(words_per_tag=10 * each_tag))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

    single, n = float(np.median([seconds for seconds, _ in singles])) * model.n_layers, len(targets.rows)
    float32 = [apart(found[layer, word, :-1], own) for (word, layer), (_, own) in zip(pairs, singles, strict=True)]
    residual = np.abs(found[:, :, :-1].sum(2) - found[:, :, -1]).sum(1) / np.abs(found[:, :, -1]).sum(1)
    together = np.abs(joint[:, :, :-1].sum((0, 2)) - joint[0, :, -1]).sum() / np.abs(joint[0, :, -1]).sum()
    model.predictor.whole.double()  # what rounding alone makes of either
    exact = [bench.one_at_a_time(targets, *pair, steps=20)[1] for pair in pairs[:8]]
    some = IntegratedGradients(words_per_tag=each_tag)
    read, few = bench.read(some), targets.of(np.unique([word for word, _ in pairs[:8]]))
    ours: dict[int, dict[int, np.ndarray]] = {}
    for rows, values in read.stream(bench.sentences, few, labels.splits["train"]):
        for row, place in enumerate(rows):
            ours[int(few.rows[place])] = {layer: value[row, :-1].numpy() for layer, value in values.items()}
    double = [apart(ours[int(targets.rows[w])][layer], own) for (w, layer), own in zip(pairs, exact, strict=False)]
    rounding = [apart(own, sure) for (_, own), sure in zip(singles, exact, strict=False)]
    own_rounding = [apart(found[layer, w, :-1], sure) for (w, layer), sure in zip(pairs, exact, strict=False)]
    times = {
        "integrated gradients, path=layer": (n, layer_time / n),
        "integrated gradients, path=joint": (n, joint_time / n),
        "gradient x activation": (len(many.rows), gradient_time / len(many.rows)),
        "integrated gradients, one (word, layer, step) at a time (est.)": (len(pairs), single),
    }
    publish(
        "attribution",
        f"Attribution to all {model.n_layers} x {model.width('mlp')} feed-forward neurons, 20 steps",
        ["way", "words", "seconds a word", "200 words, minutes", "times path=layer"],
        [
            [name, words, f"{each:.3g}", f"{each * 200 / 60:.1f}", f"{each * n / layer_time:.2g}"]
            for name, (words, each) in times.items()
        ],
        repeats=1,
        notes=f"""Starter treebank; (est.): a sample, half before ours and half after, scaled up. Memory for a batch
        {MEMORY // 2**20} MiB; the process held {peak:.0f} MiB at most. Completeness: attributions of a layer miss the
        change of the logit by {np.median(residual):.0e} of it in the median layer and {residual.max():.2g} in the worst
        (layer {residual.argmax()}), path=joint by {together:.2g}. Largest difference between path=layer and one at a
        time, as a share of a word's largest attribution to the layer: {max(double):.0e} in float64, {max(float32):.0e}
        in float32, where rounding alone moves one at a time by {max(rounding):.0e} and ours by
        {max(own_rounding):.0e}.""",
    )


if __name__ == "__main__":
    main()
