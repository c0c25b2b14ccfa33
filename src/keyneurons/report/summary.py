"""What a run says to its reader: the verdict, the table by tag, the figures beside their controls."""

from __future__ import annotations

from dataclasses import dataclass

from keyneurons.pipeline.experiment import Result
from keyneurons.records import SPLITS

ALPHA = 0.05


@dataclass(frozen=True)
class TagRow:
    """One tag: words in train, its best neuron with the score, own F1 and that of random neurons."""

    tag: str
    words: int
    best: str
    score: float
    own_f1: float
    random_f1: float


@dataclass(frozen=True)
class Summary:
    """Everything shown on the console and in the run's description."""

    title: str
    facts: tuple[str, ...]
    tags: tuple[TagRow, ...]
    accuracies: tuple[tuple[str, str], ...]
    verdict: str


def summarise(result: Result) -> Summary:
    """Put a result into words and numbers."""
    read = result.experiment.read
    layers = (
        ", ".join(map(str, result.sets.layers)) if len(result.sets.layers) <= 8 else f"{len(result.sets.layers)} layers"
    )
    title = (
        f"{read.model.files.id}{' with random weights' if read.model.random_weights else ''}, {read.site}, "
        f"layer {layers}: {result.experiment.top_k} key neurons per tag by {result.experiment.method}"
    )
    rows = tuple(_tag_row(result, tag) for tag in result.labels.names)
    return Summary(title, _facts(result), rows, _accuracies(result), verdict(result))


def verdict(result: Result) -> str:
    """One plain sentence: whether the key neurons beat matched random sets of neurons."""
    m, n = result.metrics, len(result.evidence.random_accuracy)
    figures = (
        f"accuracy {m['probe/test_accuracy']:.3f} against {m['control/random/test_accuracy']:.3f} "
        f"(std {m['control/random/test_accuracy_std']:.3f}, {n} sets), p = {m['control/random/p_value']:.3f}"
    )
    if m["control/random/p_value"] <= ALPHA:
        return f"Key neurons beat matched random sets: {figures}."
    least = 1 / (n + 1)
    hint = f" With {n} sets p cannot be below {least:.3f}: raise controls.random_sets." if least > ALPHA else ""
    return f"Key neurons are not distinguishable from matched random sets: {figures}.{hint}"


def markdown(summary: Summary) -> str:
    """The summary as the description of an MLflow run."""
    lines = [f"### {summary.title}", "", f"**{summary.verdict}**", "", "| accuracy on test words | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in summary.accuracies]
    lines += ["", "| tag | train words | best neuron | score | own F1 | random F1 |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.tag} | {row.words} | {row.best} | {row.score:.3f} | {row.own_f1:.3f} | {row.random_f1:.3f} |"
        for row in summary.tags
    ]
    lines += ["", *(f"- {fact}" for fact in summary.facts)]
    return "\n".join(lines) + "\n"


def _tag_row(result: Result, tag: str) -> TagRow:
    best = result.sets.tags[tag][0]
    words = int(result.labels.counts("train")[result.labels.names.index(tag)])
    m = result.metrics
    name = f"{result.sets.site}.{best.layer}.{best.neuron}"
    return TagRow(tag, words, name, best.score, m[f"own/f1/{tag}"], m[f"own/random_f1/{tag}"])


def _accuracies(result: Result) -> tuple[tuple[str, str], ...]:
    m = result.metrics
    size = f"{m['selection/union_size']:.0f}"
    spread = f"{m['control/random/test_accuracy']:.3f} +- {m['control/random/test_accuracy_std']:.3f}"
    rows = [
        (
            f"key neurons ({size}, {m['selection/union_fraction']:.0%} of the neurons read)",
            f"{m['probe/test_accuracy']:.3f}",
        ),
        (f"random neurons ({size}, mean of {len(result.evidence.random_accuracy)} sets)", spread),
        ("control task (random tag for each word type) on the key neurons", f"{m['control/task/test_accuracy']:.3f}"),
        ("most frequent tag of the word in train", f"{m['control/word_type/test_accuracy']:.3f}"),
        ("majority tag", f"{m['control/majority/test_accuracy']:.3f}"),
    ]
    if "control/all_neurons/test_accuracy" in m:
        rows.insert(2, ("all neurons", f"{m['control/all_neurons/test_accuracy']:.3f}"))
    return tuple(rows)


def _facts(result: Result) -> tuple[str, ...]:
    labels, treebank, m = result.labels, result.treebank, result.metrics
    words = " / ".join(str(len(labels.splits[split].rows)) for split in SPLITS)
    facts = [f"{treebank.id}: {words} words in train / dev / test, tags from {labels.column}"]
    if result.experiment.read.read_at == "prediction":
        facts.append(
            "read where the word is predicted; first words of sentences are left out (nothing but BOS before them)"
        )
    if labels.left_out:
        facts.append("left out, too few words in train: " + ", ".join(f"{t} ({n})" for t, n in labels.left_out.items()))
    if n := sum(treebank.duplicates_dropped.values()):
        facts.append(f"{n} dev and test sentences dropped that stand in an earlier split")
    if treebank.shared_spans:
        facts.append(f"{treebank.shared_spans} words share the span of their multi-word token")
    facts.append(
        f"sets of two tags share {m['overlap/mean_count']:.2f} neurons on average, "
        f"{m['overlap/mean_expected_count']:.2f} expected by chance"
    )
    return tuple(facts)
