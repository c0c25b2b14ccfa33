"""Time and peak memory of selection methods, compared with library routines or plain loops.

Run with ``python benchmarks/selection.py``. The data are the 1,536 feed-forward neurons of layer 8
of the default model on the train words of the starter treebank or, with ``--treebank FOLDER``, on
the first 500 train sentences of UD English EWT in that folder. ``--large WORDS NEURONS`` adds
moment-based methods on a memory map of random float16 numbers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from common import publish, spread
from hydra import compose, initialize_config_dir
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.stats import pearsonr, ttest_ind
from sklearn.feature_selection import f_classif, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import l1_min_c

from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.config.paths import conf_folder
from keyneurons.config.validation import validate
from keyneurons.selection.methods.average_precision import AveragePrecision
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.l1_probe import L1Probe
from keyneurons.selection.methods.lape import LAPE
from keyneurons.selection.methods.mean_difference import MeanDifference
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.probeless import Probeless
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.moment_scorer import MomentScorer
from keyneurons.selection.scorer import NeuronScorer
from keyneurons.selection.scoring import Driver

C = 0.1
SIX: tuple[MomentScorer, ...] = (Correlation(), MeanDifference(), FTest(), WelchT(), Probeless(), LAPE())


@dataclass(frozen=True)
class Data:
    """Activations with a tag for every row; ``wide`` converts them for the libraries."""

    values: ndarray
    tags: ndarray
    n_tags: int
    rows: ndarray

    def driver(self) -> Driver:
        return Driver({8: self.values}, self.rows, self.n_tags, "mlp", "layer")

    def wide(self, neurons: int | None = None) -> ndarray:
        return self.values[:, :neurons].astype(np.float64)

    def small(self) -> Data:
        """Twenty words of every tag and few neurons, for the warm-up."""
        order = np.argsort(self.tags, kind="stable")
        picked = np.sort(np.concatenate([order[self.tags[order] == t][:20] for t in range(self.n_tags)]))
        return Data(self.values[picked, :64], self.tags[picked], self.n_tags, np.arange(len(picked)))


@dataclass
class Row:
    """A method and its alternative, which processes a ``share`` of the tags and neurons."""

    name: str
    method: Callable[[Data], object]
    other_name: str
    other: Callable[[Data], object]
    share: float = 1.0
    method_s: list[float] = field(default_factory=list)
    other_s: list[float] = field(default_factory=list)
    peak: int = 0


def read_treebank(folder: Path | None, target: Path) -> None:
    """Write activations and tags of the labelled train words to a folder."""
    ewt = ["dataset=ud_english_ewt", f"dataset.folder={folder}", "dataset.max_sentences.train=500"]
    overrides = ["dataset=starter"] if folder is None else ewt
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = validate(compose("config", [*overrides, "site=mlp", "layer=8"]))
    dataset, reader = build_dataset(config.dataset, config.cache.expanduser(), config.seed), build_reader(config)
    treebank = dataset.load()
    words = dataset.label(treebank, first_words=True).splits["train"]
    np.save(target / "values.npy", reader(treebank.splits["train"], "train")[8][words.rows])
    np.save(target / "tags.npy", words.tags)


def make_large(path: Path, words: int, neurons: int) -> None:
    """Write random float16 activations."""
    array = np.lib.format.open_memmap(path, "w+", np.float16, (words, neurons))
    rng = np.random.default_rng(0)
    for first in range(0, words, 8192):
        part = array[first : first + 8192]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    array.flush()


def score(scorer: NeuronScorer, data: Data) -> object:
    return data.driver().scores(scorer, data.tags)


def score_six(data: Data) -> None:
    """Score with six moment-based methods in one pass."""
    driver = data.driver()
    results = driver.moments(data.tags[None], {scorer.view for scorer in SIX})
    moments = {view: of_view for view, [of_view] in results.items()}
    for scorer in SIX:
        scorer.scores(driver, data.tags, moments)


def pearson_loop(data: Data, neurons: int) -> None:
    x = np.asfortranarray(data.wide(neurons))
    for tag in range(data.n_tags):
        y = (data.tags == tag).astype(np.float64)
        for neuron in range(neurons):
            pearsonr(x[:, neuron], y)


def corrcoef_loop(data: Data, neurons: int) -> None:
    x = np.asfortranarray(data.wide(neurons))
    for tag in range(data.n_tags):
        y = (data.tags == tag).astype(np.float64)
        for neuron in range(neurons):
            np.corrcoef(x[:, neuron], y)


def t_tests(data: Data, *, equal_var: bool) -> None:
    x = data.wide()
    for tag in range(data.n_tags):
        ttest_ind(x[data.tags == tag], x[data.tags != tag], equal_var=equal_var)


def f_tests(data: Data) -> None:
    x = data.wide()
    for tag in range(data.n_tags):
        f_classif(x, data.tags == tag)


def probeless_loop(data: Data) -> None:
    x = data.wide()
    means = [x[data.tags == tag].mean(axis=0) for tag in range(data.n_tags)]
    for mean in means:
        sum(np.abs(mean - other) for other in means)


def nearest_neighbours(data: Data, neurons: int, n_tags: int) -> None:
    x = data.wide(neurons)
    for tag in range(n_tags):
        mutual_info_classif(x, data.tags == tag, random_state=0)


def average_precision_loop(data: Data, neurons: int) -> None:
    x = np.asfortranarray(data.wide(neurons))
    for tag in range(data.n_tags):
        for neuron in range(neurons):
            for signed in (x[:, neuron], -x[:, neuron]):
                average_precision_score(data.tags == tag, signed)


def logistic_regressions(data: Data, solver: str, tags: range, max_iter: int = 1000) -> list[LogisticRegression]:
    x = StandardScaler().fit_transform(data.wide())
    options = {"l1_ratio": 1, "C": C, "class_weight": "balanced", "random_state": 0, "max_iter": max_iter}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # saga does not converge
        return [LogisticRegression(solver=solver, **options).fit(x, data.tags == tag) for tag in tags]


def liblinear_path(data: Data, tag: int) -> None:
    """Decrease the penalty in twenty steps per decade until ten weights are nonzero."""
    x, y = StandardScaler().fit_transform(data.wide()), data.tags == tag
    path = l1_min_c(x, y, loss="log") * 10 ** (np.arange(1, 100) / 20)
    options = {"l1_ratio": 1, "solver": "liblinear", "class_weight": "balanced", "random_state": 0}
    next(c for c in path if np.count_nonzero(LogisticRegression(C=c, **options).fit(x, y).coef_) >= 10)


def one_sum(data: Data) -> None:
    for first in range(0, len(data.values), 8192):
        data.values[first : first + 8192].sum(axis=0, dtype=np.float64)


def rows_for(data: Data) -> list[Row]:
    width, n_tags = data.values.shape[1], data.n_tags
    return [
        Row("correlation", partial(score, Correlation()), "pearsonr", partial(pearson_loop, neurons=48), 48 / width),
        Row(
            "correlation",
            partial(score, Correlation()),
            "np.corrcoef",
            partial(corrcoef_loop, neurons=384),
            384 / width,
        ),
        Row("mean_difference", partial(score, MeanDifference()), "ttest_ind", partial(t_tests, equal_var=True)),
        Row("f_test", partial(score, FTest()), "f_classif", f_tests),
        Row("welch_t", partial(score, WelchT()), "ttest_ind", partial(t_tests, equal_var=False)),
        Row("probeless", partial(score, Probeless()), "numpy", probeless_loop),
        Row("six from one pass", score_six, "f_test alone", partial(score, FTest())),
        Row(
            "mutual_information",
            partial(score, MutualInformation()),
            "mutual_info_classif",
            partial(nearest_neighbours, neurons=16, n_tags=2),
            16 * 2 / (width * n_tags),
        ),
        Row(
            "average_precision",
            partial(score, AveragePrecision()),
            "average_precision_score",
            partial(average_precision_loop, neurons=8),
            8 / width,
        ),
        Row(
            f"l1_probe C={C}",
            partial(score, L1Probe(n_nonzero=1, C=C)),
            "liblinear",
            partial(logistic_regressions, solver="liblinear", tags=range(n_tags)),
        ),
        Row(
            f"l1_probe C={C}",
            partial(score, L1Probe(n_nonzero=1, C=C)),
            "saga, 30 epochs",
            partial(logistic_regressions, solver="saga", tags=range(1), max_iter=30),
            1 / n_tags,
        ),
        Row(
            "l1_probe 10 weights",
            partial(score, L1Probe(n_nonzero=10)),
            "liblinear, same path",
            partial(liblinear_path, tag=n_tags // 2),
            1 / n_tags,
        ),
    ]


def large_rows() -> list[Row]:
    return [
        Row("large: correlation", partial(score, Correlation()), "float64 sum of numpy", one_sum),
        Row("large: six from one pass", score_six, "float64 sum of numpy", one_sum),
    ]


def run_in_child(function: Callable[[], object]) -> int:
    """Run a function in a forked process and return its number, or 0 for None."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: send.send(function() or 0))
    process.start()
    send.close()
    result: int = receive.recv()
    process.join()
    return result


def peak_beyond_input(function: Callable[[Data], object], data: Data) -> int:
    """Peak memory in bytes beyond the input and the memory that earlier calls leave allocated."""
    function(data.small())
    for first in range(0, len(data.values), 8192):
        # touches all pages of a memory map, so that they count as input
        data.values[first : first + 8192].max()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function(data)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def seconds(function: Callable[[Data], object], data: Data) -> float:
    start = time.perf_counter()
    function(data)
    return time.perf_counter() - start


def time_rows(rows: list[Row], data: Data, repeats: int) -> None:
    """Time all rows in turn, ``repeats`` times."""
    for row in rows:
        row.method(data.small())
    for _ in range(repeats):
        for row in rows:
            row.method_s.append(seconds(row.method, data))
            row.other_s.append(seconds(row.other, data))


def table(rows: list[Row], data: Data) -> list[list[object]]:
    """Cells of the table: medians and ratios of the times."""
    shape = f"{len(data.values):,} x {data.values.shape[1]:,}, {data.n_tags} tags"
    cells: list[list[object]] = []
    for row in rows:
        middle = statistics.median(row.method_s)
        each = sorted(other / row.share / own for own, other in zip(row.method_s, row.other_s, strict=True))
        estimated = " (est.)" if row.share < 1 else ""
        cells.append([
            shape,
            row.name,
            f"{middle:.3g}",
            row.other_name + estimated,
            *spread(each),
            f"{row.peak / 2**20:.0f}",
        ])
    return cells


def objective(x: ndarray, y: ndarray, weights: ndarray, bias: float) -> float:
    """Objective of the L1 probe at C; the bias is not penalised."""
    share = np.where(y, len(y) / (2 * y.sum()), len(y) / (2 * (~y).sum()))
    loss = np.logaddexp(0, -np.where(y, 1, -1) * (x @ weights + bias))
    return float((share * loss).mean() + np.abs(weights).sum() / (C * len(y)))


def with_best_bias(x: ndarray, y: ndarray, weights: ndarray) -> float:
    return float(minimize_scalar(lambda bias: objective(x, y, weights, bias), options={"xtol": 1e-10}).fun)


def compare_objectives(data: Data) -> list[str]:
    """Ratios of the objective to those of liblinear and saga, as fitted and with the best bias.

    liblinear penalises the bias as well, which its objective includes.
    """
    x = StandardScaler().fit_transform(data.wide())
    weights = data.driver().scores(L1Probe(n_nonzero=1, C=C), data.tags).values.numpy()
    texts = []
    for solver, tags in (("liblinear", range(data.n_tags)), ("saga", range(1))):
        own, refit = [], []
        for tag, model in zip(tags, logistic_regressions(data, solver, tags, 100), strict=True):
            y, theirs, bias = data.tags == tag, model.coef_[0], float(model.intercept_[0])
            value = with_best_bias(x, y, weights[tag])
            extra = abs(bias) / (C * len(y)) if solver == "liblinear" else 0.0
            own.append(value / (objective(x, y, theirs, bias) + extra))
            refit.append(value / with_best_bias(x, y, theirs))
        n_tags = f"{len(tags)} tag{'' if len(tags) == 1 else 's'}"
        texts.append(
            f"{max(own):.4f} of that of {solver}, {max(refit):.4f} of that of {solver} with a free bias ({n_tags})"
        )
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--treebank", type=Path)
    parser.add_argument("--large", type=int, nargs=2, metavar=("WORDS", "NEURONS"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="prefix of the names of the rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_in_child(partial(read_treebank, options.treebank, folder))
        tags = np.load(folder / "tags.npy")
        data = Data(np.load(folder / "values.npy"), tags, int(tags.max()) + 1, np.arange(len(tags)))
        groups = [([row for row in rows_for(data) if row.name.startswith(options.only)], data)]
        if options.large:
            make_large(folder / "large.npy", *options.large)
            many = np.random.default_rng(0).integers(0, 17, options.large[0])
            large = Data(np.load(folder / "large.npy", mmap_mode="r"), many, 17, np.arange(len(many)))
            groups.append((large_rows(), large))
        for rows, each in groups:
            for row in rows:  # before any thread starts: a process with threads cannot be forked
                row.peak = run_in_child(partial(peak_beyond_input, row.method, each))
        cells = []
        for rows, each in groups:
            time_rows(rows, each, options.repeats)
            cells += table(rows, each)
        objectives = "; ".join(compare_objectives(data))
    publish(
        "selection",
        "Selection methods compared with library routines or plain loops",
        [
            "words x neurons",
            "method",
            "seconds",
            "alternative",
            "alternative / method: min",
            "median",
            "max",
            "peak MiB",
        ],
        cells,
        repeats=options.repeats,
        notes=f"""Train words of {options.treebank.name if options.treebank else "the starter treebank"}, mlp layer 8 of
        SmolLM2-135M. (est.): measured on a part of the data and scaled up. Peak memory is that of the method beyond its
        input. Largest ratio of objectives of the L1 probe at C={C} with a free bias, over the tags: {objectives}. At
        most 1 means that the method is at least as good.""",
    )


if __name__ == "__main__":
    main()
