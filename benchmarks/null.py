"""How often thresholds select neurons under nulls, on real activations and with sentence effects.

Run with ``python benchmarks/null.py TREEBANK_FOLDER`` or, with activations that an earlier run has
saved (``--save FILE``), ``python benchmarks/null.py FILE.npz``; ``--help`` lists the options. The
activations are those of the default model on the first 500 train sentences of UD English EWT
(feed-forward neurons of one layer): the first sentences and a sample of the neurons for the nulls,
all for the last columns. A permutation test stops once the remaining permutations cannot make
anything significant, and no more than ``ENOUGH`` data sets are drawn where most select something.

The nulls are: a random tag per word; a random tag per word type (which neurons that respond to
single words do carry); for every sentence the tags of another one of like length; the tags of the
text rotated; Gaussian neurons and tags with sentence effects. A threshold at alpha = .05 should
select a neuron, for any tag, in at most 5 % of the data sets in which no neuron carries the tags
beyond what the threshold controls for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from common import publish
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.controls import control_task_tags
from keyneurons.analysis.resampling import exchange_of_like_length, permuted_tags
from keyneurons.choices import Permuted
from keyneurons.records import Scores
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.scorer import NeuronScorer
from keyneurons.selection.scoring import Driver
from keyneurons.selection.significance import benjamini_hochberg, max_statistic_p_values, survivors
from keyneurons.selection.views import VALUE

ALPHA = 0.05
UNITS: tuple[Permuted, ...] = get_args(Permuted)
SLOW = 20  # data sets for a method that is not moment-based
ENOUGH = 40  # data sets where more than half select something
LIKE = 5  # ranks by length between a sentence and the one whose tags it gets
SYNTHETIC = 50  # Gaussian neurons
STRONG, WEAK, N_WEAK = 2.0, 0.35, 100  # planted effects in standard deviations; number of weak neurons


@dataclass(frozen=True)
class Text:
    """Activations of the labelled words with their tags, sentences and forms."""

    values: Tensor
    tags: ndarray
    sentences: ndarray
    forms: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def lengths(self) -> ndarray:
        return np.unique(self.sentences, return_counts=True)[1]

    def sample(self, n_sentences: int, every: int) -> Text:
        """The first sentences, and one in so many neurons."""
        n = int(self.lengths[:n_sentences].sum())
        values = self.values[:n, ::every].contiguous()
        return replace(self, values=values, tags=self.tags[:n], sentences=self.sentences[:n], forms=self.forms[:n])

    def driver(self) -> Driver:
        arrays, rows = {0: self.values.numpy()}, np.arange(len(self.tags))
        return Driver(arrays, rows, len(self.names), "mlp", "layer", DEVICE, sentences=self.sentences)

    def with_planted(self) -> Text:
        """One neuron that is 2 standard deviations higher on NOUN, and weak ones of SCONJ."""
        rng = np.random.default_rng(0)
        effect = np.repeat([STRONG, WEAK], [1, N_WEAK])
        marked = self.tags[:, None] == np.repeat([self.names.index("NOUN"), self.names.index("SCONJ")], [1, N_WEAK])
        planted = rng.normal(size=marked.shape) + effect * marked
        return replace(self, values=torch.cat([self.values, torch.from_numpy(planted).to(self.values)], dim=1))


Null = Callable[[Text, np.random.Generator], Text]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
AT_ONCE = 256 if DEVICE == "cuda" else 20  # taggings in one product


def per_word(text: Text, rng: np.random.Generator) -> Text:
    return replace(text, tags=rng.permutation(text.tags))


def per_type(text: Text, rng: np.random.Generator) -> Text:
    [tags] = control_task_tags([text.forms], text.tags, len(text.names), int(rng.integers(2**31)))
    return replace(text, tags=tags)


def of_other_sentences(text: Text, rng: np.random.Generator) -> Text:
    """For every sentence the tags of another one, up to ``LIKE`` ranks away by length.

    Tags are assigned by relative position; unlike in the permutation test, a sentence may serve
    several times.
    """
    lengths = text.lengths
    by_length, starts = np.lexsort((rng.random(len(lengths)), lengths)), lengths.cumsum() - lengths
    tags = np.empty_like(text.tags)
    for rank, sentence in enumerate(by_length):
        near = [r for r in range(rank - LIKE, rank + LIKE + 1) if r != rank and 0 <= r < len(lengths)]
        other = by_length[rng.choice(near)]
        place = np.linspace(0, lengths[other] - 1, lengths[sentence]).round().astype(int)
        tags[starts[sentence] : starts[sentence] + lengths[sentence]] = text.tags[starts[other] + place]
    return replace(text, tags=tags)


def rotated(text: Text, rng: np.random.Generator) -> Text:
    n = len(text.tags)
    return replace(text, tags=np.roll(text.tags, rng.integers(n // 10, n - n // 10)))


def sentence_effects(of_neurons: float, of_tags: float) -> Null:
    """Gaussian neurons and tags with these intraclass correlations by sentence."""

    def draw(text: Text, rng: np.random.Generator) -> Text:
        place = np.repeat(np.arange(len(text.lengths)), text.lengths)
        common = rng.normal(size=(len(text.lengths), SYNTHETIC))[place]
        own = rng.normal(size=(len(place), SYNTHETIC))
        values = np.sqrt(of_neurons) * common + np.sqrt(1 - of_neurons) * own
        concentration = (1 - of_tags) / of_tags  # of a Dirichlet-multinomial distribution
        shares = np.bincount(text.tags) / len(text.tags)
        by_sentence = rng.dirichlet(concentration * shares, size=len(text.lengths))[place]
        tags = (rng.random((len(place), 1)) > by_sentence.cumsum(axis=1)).sum(axis=1)
        return replace(text, values=torch.from_numpy(values), tags=tags.clip(max=len(shares) - 1))

    return draw


NULLS: dict[str, Null] = {
    "tag per word": per_word,
    "tag per word type": per_type,
    "tags of other sentences": of_other_sentences,
    "rotated tags": rotated,
    "sentence effects .3, .17": sentence_effects(0.3, 0.17),
    "sentence effects .5, .25": sentence_effects(0.5, 0.25),
}
METHODS: dict[str, NeuronScorer] = {"correlation": Correlation(), "welch_t": WelchT()}


def data_sets(null: Null, text: Text, n: int) -> Iterator[Text]:
    """Data sets in which every tag has at least two words."""
    for i in range(n):
        rng = np.random.default_rng([0, i])
        drawn = null(text, rng)
        while np.bincount(drawn.tags, minlength=len(text.names)).min() < 2:
            drawn = null(text, rng)
        yield drawn


class Sums:
    """Scores by both methods under many taggings, from products of standardised values and tags."""

    def __init__(self, values: Tensor, n_tags: int) -> None:
        wide = values.to(DEVICE).double()
        wide = (wide - wide.mean(dim=0)) / wide.std(dim=0, correction=0).clamp(min=1e-12)
        self.values, self.squares = wide.float().T.contiguous(), wide.square().float().T.contiguous()
        self.n_tags = n_tags

    def scores(self, taggings: Tensor) -> dict[str, Tensor]:
        """Correlation and Welch's t as ``[taggings, tags, neurons]``."""
        (n, n_words), device = taggings.shape, taggings.device
        column = taggings + self.n_tags * torch.arange(n, device=device)[:, None]
        columns = torch.zeros(n_words, n * self.n_tags, device=device).scatter_(1, column.T, 1.0)
        of_tag = columns.sum(dim=0).reshape(n, self.n_tags, 1)
        sums, squares = (self._by_tag(table, columns) for table in (self.values, self.squares))
        of_rest = n_words - of_tag
        shift = sums / of_tag + sums / of_rest  # values have mean 0 over all words
        error = (squares / of_tag - (sums / of_tag).square()).clamp(min=0) / (of_tag - 1)
        rest = ((n_words - squares) / of_rest - (sums / of_rest).square()).clamp(min=0) / (of_rest - 1)
        return {
            "correlation": shift * (of_tag * of_rest).sqrt() / n_words,
            "welch_t": shift / (error + rest).sqrt(),
        }

    def _by_tag(self, table: Tensor, columns: Tensor) -> Tensor:
        return (table @ columns).reshape(len(table), -1, self.n_tags).permute(1, 2, 0)


def by_fdr(text: Text, *, slow: bool) -> dict[str, Tensor]:
    """Significant neurons by ``threshold.kind=fdr``."""
    driver = text.driver()
    by_words = replace(driver, sentences=None)
    [moments] = driver.moments(text.tags[None], [VALUE])[VALUE]

    def scores(scorer: NeuronScorer, source: Driver) -> Scores:
        return scoring_of(scorer).scores(source, text.tags, {VALUE: moments})

    p_values = {f"fdr, {name}": scores(each, driver).p_robust for name, each in METHODS.items()}
    independent = scores(METHODS["correlation"], by_words)
    p_values["bound for independent words, correlation"] = independent.p_robust
    p_values["textbook p-values, correlation"] = independent.p_values
    if slow:
        p_values["fdr, mutual_information"] = driver.scores(MutualInformation(), text.tags).p_robust
    return {name: survivors(benjamini_hochberg(p), ALPHA) for name, p in p_values.items() if p is not None}


def by_permutation(text: Text, unit: Permuted, orders: Tensor, *, whole: bool = False) -> dict[str, Tensor]:
    """Significant neurons by ``threshold.kind=permutation``; ends early unless ``whole``."""
    tags = torch.from_numpy(text.tags).to(DEVICE)
    sums = Sums(text.values, len(text.names))
    own = {name: scores[0].double() for name, scores in sums.scores(tags[None]).items()}
    none = {f"{unit}, {name}": torch.zeros_like(scores, dtype=torch.bool) for name, scores in own.items()}
    maxima: dict[str, list[Tensor]] = {name: [] for name in own}
    for some in orders.split(AT_ONCE):
        for name, scores in sums.scores(tags[some]).items():
            maxima[name].append(scores.abs().amax(dim=2).double())
        if not whole and not any(may_select(own[name], torch.cat(maxima[name]), len(orders)) for name in own):
            return none
    p_values = {name: max_statistic_p_values(own[name], torch.cat(maxima[name])) for name in own}
    return {f"{unit}, {name}": survivors(each, ALPHA) for name, each in p_values.items()}


def may_select(own: Tensor, maxima: Tensor, n: int) -> bool:
    """Whether a tag would be significant if no remaining permutation of n reached its maximum."""
    stronger = (maxima >= own.abs().amax(dim=1)).sum(dim=0)
    return bool((benjamini_hochberg((1 + stronger) / (1 + n)) <= ALPHA).any())


def orders_of(text: Text, n: int) -> dict[Permuted, Tensor]:
    """The first permutations of words by each unit; they do not depend on the tags."""
    words, is_start = np.arange(len(text.tags)), np.r_[True, np.diff(text.sentences) > 0]

    def order(unit: Permuted, i: int) -> ndarray:
        rng = np.random.default_rng([0, i])
        if unit == "like_length":
            return exchange_of_like_length(is_start, rng)
        return permuted_tags(words, text.sentences, unit, rng)

    return {unit: torch.from_numpy(np.stack([order(unit, i) for i in range(n)])).to(DEVICE) for unit in UNITS}


def prepare(folder: str, layer: int) -> Text:
    """Read the text and the activations of the labelled train words."""
    from keyneurons.build.experiment import build_experiment
    from keyneurons.config.compose import checked_with_choices
    from keyneurons.data.word_features import sentence_of_rows
    from keyneurons.pipeline.activations import read_activations
    from keyneurons.pipeline.dataset import load_text

    caps = "dataset.max_sentences={train: 500, dev: 250, test: 250}"
    overrides = ["dataset=ud_english_ewt", f"dataset.folder={folder}", caps, f"layer={layer}"]
    config, choices = checked_with_choices(overrides, None)
    experiment = build_experiment(config, choices["selection"])
    text = load_text(experiment.dataset, experiment.read)
    array = read_activations(experiment.read, text.treebank, store=True).stored().arrays["train"][layer]
    words = text.labels.splits["train"]
    sentences = sentence_of_rows(text.treebank.splits["train"], words.rows)
    return Text(torch.from_numpy(array[words.rows]), words.tags, sentences, tuple(words.forms), text.labels.names)


def load(path: Path) -> Text:
    """Read what ``--save`` has written."""
    with np.load(path) as file:
        values, forms, names = torch.from_numpy(file["values"]), tuple(file["forms"].tolist()), file["names"].tolist()
        return Text(values, file["tags"], file["sentences"], forms, tuple(names))


def cell(selected: list[Tensor]) -> str:
    """Share of data sets with any neuron selected, and mean share of tags with one."""
    any_selected = np.mean([bool(each.any()) for each in selected])
    by_tag = np.mean([float(each.any(dim=1).double().mean()) for each in selected])
    return f"{any_selected:.3f} ({by_tag:.3f})"


def under_null(name: str, text: Text, orders: dict[Permuted, Tensor], n: int) -> dict[str, str]:
    """Cells of a null, by threshold."""
    selected: dict[str, list[Tensor]] = {}

    def enough(unit: Permuted) -> bool:
        of_unit = [masks for threshold, masks in selected.items() if threshold.startswith(unit)]
        any_selected = [sum(bool(mask.any()) for mask in masks) / len(masks) for masks in of_unit]
        return bool(of_unit) and len(of_unit[0]) >= ENOUGH and min(any_selected) > 0.5

    for i, drawn in enumerate(data_sets(NULLS[name], text, n)):
        masks = by_fdr(drawn, slow=i < SLOW)
        for unit, order in orders.items():
            masks |= {} if enough(unit) else by_permutation(drawn, unit, order)
        for threshold, mask in masks.items():
            selected.setdefault(threshold, []).append(mask)
    cells = {threshold: cell(masks) for threshold, masks in selected.items()}
    print(name, cells, flush=True)
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="folder of UD English EWT, or a file written by --save")
    parser.add_argument("--save", type=Path, help="write the activations to this file and end")
    parser.add_argument("--layer", type=int, default=8)
    parser.add_argument("--data-sets", type=int, default=200)
    parser.add_argument("--permutations", type=int, default=299)
    parser.add_argument("--sentences", type=int, default=150, help="number of sentences for the nulls")
    parser.add_argument("--every", type=int, default=32, help="use one in so many neurons for the nulls")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    text = load(Path(arguments.text)) if arguments.text.endswith(".npz") else prepare(arguments.text, arguments.layer)
    if arguments.save:
        facts = {"tags": text.tags, "sentences": text.sentences, "forms": text.forms, "names": text.names}
        np.savez(arguments.save, values=text.values, **facts)
        return
    sample = text.sample(arguments.sentences, arguments.every)
    orders = orders_of(sample, arguments.permutations)
    table: dict[str, list[str]] = {}
    measure = partial(under_null, text=sample, orders=orders, n=arguments.data_sets)
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        for cells in pool.map(measure, NULLS):
            for threshold, each in cells.items():
                table.setdefault(threshold, []).append(each)
    planted = text.with_planted()
    under_true, with_planted = by_fdr(text, slow=True), by_fdr(planted, slow=True)
    for unit, order in orders_of(text, arguments.permutations).items():
        under_true |= by_permutation(text, unit, order, whole=True)
        with_planted |= by_permutation(planted, unit, order, whole=True)
    noun, sconj, n = text.names.index("NOUN"), text.names.index("SCONJ"), text.values.shape[1]
    for threshold, cells in table.items():
        mask = with_planted[threshold]
        cells += ["yes" if mask[noun, n] else "no", f"{mask[sconj, n + 1 :].double().mean():.2f}"]
        cells.append(f"{int(under_true[threshold].sum()):,}")
    columns = ["threshold", *NULLS, "strong planted", "weak planted", "selected under true tags"]
    n_nulls = f"{arguments.sentences} sentences, {len(sample.tags):,} words, {sample.values.shape[1]} neurons"
    note = f"""
        EWT, first 500 train sentences, {len(text.tags):,} words of {len(text.names)} tags, mlp layer {arguments.layer},
        {n:,} neurons; nulls: {n_nulls} ({SYNTHETIC} Gaussian ones with sentence effects), alpha {ALPHA},
        {arguments.data_sets} data sets ({ENOUGH} where more than half select something by permutation, {SLOW} for
        mutual_information), {arguments.permutations} permutations. Cells: share of data sets in which any neuron is
        selected for any tag (mean share of tags with one). Planted among all neurons: one {STRONG:g} standard
        deviations higher on NOUN, and the share found of {N_WEAK} neurons {WEAK:g} higher on SCONJ.
    """
    title = "Thresholds under nulls"
    publish("null", title, columns, [[name, *cells] for name, cells in table.items()], repeats=1, notes=note)


if __name__ == "__main__":
    main()
