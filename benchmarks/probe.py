"""Time of a probe compared with scikit-learn and a plain loop, and of many probes with one.

Run with ``python benchmarks/probe.py [repeats] [words] [neurons]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import publish, ratios, spread, time_in_turns
from hydra import compose, initialize_config_dir
from numpy import ndarray

from keyneurons.config.paths import conf_folder
from keyneurons.probe.fit import ProbeResults, ProbeSettings, ProbeTask, train_probes
from keyneurons.records import Split

CLASSES, LATENT = 17, 200


def data(n_words: int, n_neurons: int) -> tuple[dict[Split, torch.Tensor], dict[Split, torch.Tensor]]:
    """Correlated float16 activations of different scales that encode tags of unequal frequency."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, LATENT)) * 0.25
    mixing = (rng.normal(size=(LATENT, n_neurons)) / LATENT**0.5 * rng.lognormal(0, 1, n_neurons)).astype(np.float32)
    frequency = 1 / np.arange(1, CLASSES + 1)
    features, labels = {}, {}
    for split, n in (("train", n_words), ("dev", n_words // 4), ("test", n_words // 4)):
        tags = rng.choice(CLASSES, n, p=frequency / frequency.sum())
        latent = (means[tags] + rng.normal(size=(n, LATENT))).astype(np.float32)
        features[split] = torch.from_numpy((latent @ mixing + rng.normal(size=(n, n_neurons)) * 0.3).astype(np.float16))
        labels[split] = torch.from_numpy(tags)[None]
    return features, labels  # type: ignore[return-value]


def trainer() -> Callable[[], object]:
    """Return a factory of the trainer of ``conf/trainer/auto.yaml``."""
    from hydra.utils import instantiate

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return partial(instantiate, compose("config").trainer)


def settings(c: float) -> ProbeSettings:
    """Return the settings of ``conf/probe/linear.yaml`` with another ``C``."""
    return ProbeSettings(partial(torch.optim.Adam, lr=0.07, betas=(0.9, 0.98), fused=True), 256, 3, c)


def accuracy(predicted: ndarray, labels: dict[Split, torch.Tensor]) -> float:
    return float((predicted == labels["test"][0].numpy()).mean())


def scikit_learn(features: dict[Split, torch.Tensor], labels: dict[Split, torch.Tensor], c: float) -> ndarray:
    """Predictions of a converged LogisticRegression on standardised float32 activations."""
    from sklearn.linear_model import LogisticRegression

    train, test = (features[split].float().numpy() for split in ("train", "test"))
    mean, std = train.mean(axis=0), train.std(axis=0)
    fitted = LogisticRegression(C=c, max_iter=5000).fit((train - mean) / std, labels["train"][0].numpy())
    predicted: ndarray = fitted.predict((test - mean) / std)
    return predicted


def plain_torch(features: dict[Split, torch.Tensor], labels: dict[Split, torch.Tensor], c: float) -> ndarray:
    """Predictions of a plain autograd loop with the same optimizer, batches and stopping."""
    x = {split: values.float() for split, values in features.items()}
    mean, std = x["train"].mean(dim=0), x["train"].std(dim=0)
    x = {split: (values - mean) / std for split, values in x.items()}
    y = {split: values[0] for split, values in labels.items()}
    n, width = x["train"].shape
    scaled, bias = torch.zeros(width, CLASSES, requires_grad=True), torch.zeros(CLASSES, requires_grad=True)
    optimizer = torch.optim.Adam([scaled, bias], lr=0.07, betas=(0.9, 0.98), fused=True)
    generator, best, stale = torch.Generator().manual_seed(0), (float("inf"), scaled, bias), 0
    while stale < 3:
        for rows in torch.randperm(n, generator=generator).tensor_split(-(-n // 256)):
            weight = scaled / width**0.5
            loss = torch.nn.functional.cross_entropy(x["train"][rows] @ weight + bias, y["train"][rows])
            optimizer.zero_grad()
            (loss + weight.square().sum() / (2 * n * c)).backward()
            optimizer.step()
        with torch.no_grad():
            on_dev = float(torch.nn.functional.cross_entropy(x["dev"] @ scaled / width**0.5 + bias, y["dev"]))
        stale += 1
        if on_dev < best[0] * (1 - 1e-3):
            best, stale = (on_dev, scaled.detach().clone(), bias.detach().clone()), 0
    predicted: ndarray = (x["test"] @ best[1] / width**0.5 + best[2]).argmax(dim=1).numpy()
    return predicted


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    n_words = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    n_neurons = int(sys.argv[3]) if len(sys.argv) > 3 else 4096
    features, labels = data(n_words, n_neurons)
    whole, rows = ProbeTask(np.arange(n_neurons)[None], labels, CLASSES), []
    for c in (1.0, 0.01):
        train = partial(train_probes, features, settings=settings(c), trainer=trainer(), seed=0)
        predictions: dict[str, ndarray] = {}
        ways = {
            "keyneurons (Lightning)": storing(
                predictions, "keyneurons (Lightning)", partial(keyneurons_probe, train, whole)
            ),
            "plain torch loop": storing(predictions, "plain torch loop", partial(plain_torch, features, labels, c)),
            "scikit-learn": storing(predictions, "scikit-learn", partial(scikit_learn, features, labels, c)),
        }
        ways["keyneurons (Lightning)"]()
        times = time_in_turns(ways, repeats)
        for name in ways:
            middle = sorted(wall for wall, _ in times[name])[repeats // 2]
            ratio = spread(ratios(times, name, "keyneurons (Lightning)"))
            rows.append([c, name, *ratio, f"{middle:.2f}", f"{accuracy(predictions[name], labels):.4f}"])
    publish(
        "probe",
        f"One probe on {n_words} words x {n_neurons} neurons, {CLASSES} tags",
        ["C", "implementation", "ratio: min", "median", "max", "seconds, median", "test accuracy"],
        rows,
        repeats=repeats,
        notes="""Synthetic float16 activations (correlated, of different scales); times include conversion and
        standardisation. scikit-learn's solver (lbfgs, float32) runs to convergence; the other two stop on dev.""",
    )
    many(partial(train_probes, features, settings=settings(1.0), trainer=trainer(), seed=0), labels, n_neurons, repeats)


def keyneurons_probe(train: Callable[[list[ProbeTask]], list[ProbeResults]], task: ProbeTask) -> ndarray:
    return train([task])[0].test_predictions[0].numpy()


def storing(results: dict[str, ndarray], name: str, run: Callable[[], ndarray]) -> Callable[[], None]:
    """Wrap a function so that its result is stored under a name."""

    def store() -> None:
        results[name] = run()

    return store


def many(
    train: Callable[[list[ProbeTask]], list[ProbeResults]],
    labels: dict[Split, torch.Tensor],
    n_neurons: int,
    repeats: int,
) -> None:
    """Time 25 control probes in one fit and one after the other, and a probe on all neurons."""
    rng = np.random.default_rng(1)
    rows = []
    for width in (10, 150):
        columns = np.stack([rng.choice(n_neurons, width, replace=False) for _ in range(25)])
        several = ProbeTask(columns, {split: y.expand(25, -1) for split, y in labels.items()}, CLASSES)
        single = [ProbeTask(own[None], labels, CLASSES) for own in columns]
        ways: dict[str, Callable[[], object]] = {
            "one": lambda single=single: train(single[:1]),  # type: ignore[misc]
            "25 in one fit": lambda several=several: train([several]),  # type: ignore[misc]
            "25 one after the other": lambda single=single: [train([one]) for one in single],  # type: ignore[misc]
            "one on all neurons": lambda: train([ProbeTask(np.arange(n_neurons)[None], labels, CLASSES)]),
        }
        times = time_in_turns(ways, repeats)
        rows += [[f"{width} neurons each", name, *spread(ratios(times, name, "one"))] for name in ways]
    publish(
        "probes",
        "25 control probes compared with one",
        ["features", "probes", "ratio to one: min", "median", "max"],
        rows,
        repeats=repeats,
        notes="All probes read the same words.",
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
