"""The summary of a run: verdict, table of tags, accuracies with their controls, further facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyneurons.data.word_features import CONFOUNDS
from keyneurons.metrics import ALPHA, UNION_SHARE, UNION_SIZE
from keyneurons.pipeline.evidence import ControlResult, Evidence
from keyneurons.pipeline.experiment import Result
from keyneurons.records import SPLITS
from keyneurons.report.markup import block, inline, table
from keyneurons.report.phrases import counted, describe_layers, listed
from keyneurons.report.run.layers import layer_facts
from keyneurons.report.run.lesions import lesion_facts, lesion_rows, lesion_verdict

CONFOUND_LABELS = {
    "tokens": "word length in tokens",
    "position": "position",
    "log_frequency": "log frequency",
    "capitalised": "capitals",
    "sentence_initial": "sentence-initial position",
}
RESAMPLES = {
    "halves": "two halves of the train sentences",
    "bootstrap": "two bootstrap resamples of the train sentences",
}


@dataclass(frozen=True)
class Summary:
    """The content of the console output and of the run's description in MLflow.

    ``columns`` is the head of the table of tags and ``tags`` its rows; ``-`` marks missing values.
    ``lesions`` is the table of lesions, head first; empty without lesions.
    """

    title: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    accuracies: tuple[tuple[str, str], ...]
    lesions: tuple[tuple[str, ...], ...]
    verdict: str


def summarise(result: Result) -> Summary:
    """Summarise the result of a run."""
    read = result.experiment.read
    rule = result.experiment.selection.rule
    title = (
        f"{read.model.name}, {read.site}, "
        f"{describe_layers(result.key_neurons.sets.layers)}: {counted(rule.top_k, 'key neuron')} per tag "
        f"by {result.experiment.method}"
    )
    columns = {"tag": [*result.text.labels.names], **_tag_columns(result)}
    rows = tuple(zip(*columns.values(), strict=True))
    lesions: tuple[tuple[str, ...], ...] = ()
    sentences = verdict(result)
    if result.lesions is not None:
        head, by_tag = lesion_rows(result.lesions)
        lesions = (head, *by_tag)
        sentences = f"{sentences} {lesion_verdict(result.lesions)}".strip()
    return Summary(title, _facts(result), tuple(columns), rows, _accuracies(result), lesions, sentences)


def verdict(result: Result) -> str:
    """One sentence for each control with several draws: whether the key neurons beat it."""
    key = result.evidence.key_neurons
    if key is None:
        rule = result.experiment.selection.rule
        return (
            f"No key neurons: no neuron passes threshold.kind={rule.threshold}, "
            f"threshold.alpha={rule.alpha}, sign={rule.sign}."
        )
    accuracy = key.scores.accuracy
    drawn = [control for control in result.evidence.controls.values() if control.spread is not None]
    if not drawn:
        return f"Key neurons have an accuracy of {accuracy:.3f}; no control with several draws was chosen."
    return " ".join(_against(accuracy, control) for control in drawn)


def _against(accuracy: float, control: ControlResult) -> str:
    n, p_value = len(control.accuracy), control.p_value(accuracy)
    figures = f"accuracy {accuracy:.3f} against {control.mean:.3f} ± {control.spread:.3f} ({n} sets), p = {p_value:.3f}"
    if p_value is not None and p_value <= ALPHA:
        return f"Key neurons beat {control.label}: {figures}."
    least = 1 / (n + 1)
    hint = f" With {n} sets, p cannot be below {least:.3f}: draw more sets." if least > ALPHA else ""
    return f"Key neurons are not distinguishable from {control.label}: {figures}.{hint}"


def markdown(summary: Summary) -> str:
    """Format the summary as the description of an MLflow run."""
    lines = [f"### {block(summary.title)}", "", f"**{inline(summary.verdict)}**", ""]
    lines += [*table(("accuracy on test words", ""), summary.accuracies), "", *table(summary.columns, summary.tags)]
    if summary.lesions:
        lines += ["", *table(summary.lesions[0], summary.lesions[1:])]
    lines += ["", *(f"- {block(fact)}" for fact in summary.facts)]
    return "\n".join(lines) + "\n"


def _tag_columns(result: Result) -> dict[str, list[str]]:
    """Columns of the table of tags: words, best neuron, F1, stability.

    The number of neurons has a column if some tag has fewer than requested.
    """
    names, m, sets = result.text.labels.names, result.metrics, result.key_neurons.sets
    requested = result.experiment.selection.rule.max_size(len(sets.layers))
    best = [next(iter(sets.tags[tag]), None) for tag in names]
    columns = {"train words": [str(count) for count in result.text.labels.counts("train")]}
    if any(len(sets.tags[tag]) < requested for tag in names):
        columns["neurons"] = [f"{len(sets.tags[tag])} of {requested}" for tag in names]
    columns["best neuron"] = [f"{sets.site}.{n.layer}.{n.neuron}" if n else "-" for n in best]
    columns["score"] = [f"{n.score:.3f}" if n else "-" for n in best]
    measured = {"F1": "per_tag/f1", "random F1": "per_tag/random_f1"}
    measured |= {"stability": "stability/halves/jaccard"} if "halves" in result.reliability.stability else {}
    for title, metric in measured.items():
        columns[title] = [f"{m[key]:.3f}" if (key := f"{metric}/{tag}") in m else "-" for tag in names]
    return columns


def _accuracies(result: Result) -> tuple[tuple[str, str], ...]:
    """Accuracies with their controls, repeated for words of unseen types if measured."""
    m = result.metrics
    size = f"{m[UNION_SIZE]:.0f}, {m[UNION_SHARE]:.0%} of the neurons read"
    rows = _accuracies_of(result.evidence, f" ({size})")
    if (unseen := result.unseen) is not None:
        tags, words = len(unseen.labels.names), len(unseen.labels.splits["test"].rows)
        rows += [(f"on {words} test words of unseen types ({tags} tags)", "")]
        rows += [(f"  {name}", value) for name, value in _accuracies_of(unseen.evidence, "")]
    return tuple(rows)


def _accuracies_of(evidence: Evidence, size: str) -> list[tuple[str, str]]:
    rows = (
        [] if evidence.key_neurons is None else [(f"key neurons{size}", f"{evidence.key_neurons.scores.accuracy:.3f}")]
    )
    for control in evidence.controls.values():
        if control.spread is None:
            rows.append((control.label, f"{control.mean:.3f}"))
        else:
            draws = f"{control.label} (mean of {len(control.accuracy)})"
            rows.append((draws, f"{control.mean:.3f} ± {control.spread:.3f}"))
    return rows


def _facts(result: Result) -> tuple[str, ...]:
    labels, treebank, m = result.text.labels, result.text.treebank, result.metrics
    words = " / ".join(str(len(labels.splits[split].rows)) for split in SPLITS)
    facts = [f"{treebank.id}: {words} words in train / dev / test, tags from {labels.column}"]
    if result.experiment.read.read_at == "prediction":
        facts.append("read where the word is predicted; first words of sentences are excluded (only BOS precedes them)")
    if labels.left_out:
        facts.append(
            "excluded tags (too few training words): " + ", ".join(f"{t} ({n})" for t, n in labels.left_out.items())
        )
    if n := sum(treebank.duplicates_dropped.values()):
        facts.append(f"{counted(n, 'duplicate sentence')} dropped from dev and test")
    if n := treebank.unreadable_dropped:
        facts.append(f"{counted(n, 'unreadable word')} dropped (no token in the tokenizer)")
    if treebank.shared_spans:
        facts.append(f"{counted(treebank.shared_spans, 'word')} read at the shared span of a multi-word token")
    facts.append(
        f"sets of two tags share {m['overlap/mean_count']:.2f} neurons on average, "
        f"{m['overlap/mean_expected_count']:.2f} expected by chance"
    )
    return (
        *facts,
        *_attribution_facts(result),
        *_reliability_facts(result),
        *layer_facts(result),
        *_lesion_facts(result),
    )


def _lesion_facts(result: Result) -> Iterator[str]:
    if result.lesions is not None:
        yield from lesion_facts(result.lesions)


def _attribution_facts(result: Result) -> Iterator[str]:
    attribute = result.experiment.attribute
    if attribute is None:
        return
    each = result.metrics["attribution/words"] / len(result.text.labels.names)
    yield f"attributions of {each:.0f} train words per tag, at the position that predicts them"
    if result.key_neurons.words.residuals:
        name, worst = max(result.key_neurons.words.residuals.items(), key=lambda named: named[1])
        yield f"largest completeness error: {worst:.2g} of the change of the {attribute.method.target} ({name})"


def _reliability_facts(result: Result) -> Iterator[str]:
    m, checks = result.metrics, result.reliability
    for kind, label in RESAMPLES.items():
        if kind in checks.stability:
            mean, chance = m[f"stability/{kind}/jaccard"], m[f"stability/{kind}/expected_jaccard"]
            yield f"sets selected on {label} have a mean Jaccard index of {mean:.3f}, {chance:.3f} expected by chance"
    if checks.confounds is not None:
        vanishing = [
            f"{tag} {result.key_neurons.sets.site}.{n.layer}.{n.neuron}"
            for tag in result.key_neurons.sets
            for n, c in zip(result.key_neurons.sets.tags[tag], checks.confounds[tag], strict=True)
            if c.vanishes
        ]
        shown = f": {', '.join(vanishing[:5])}{' ...' if len(vanishing) > 5 else ''}" if vanishing else ""
        subject = counted(len(vanishing), "key neuron") if vanishing else "no key neuron"
        verb = "lose their" if len(vanishing) > 1 else "loses its"
        confounds = listed([CONFOUND_LABELS[name] for name in CONFOUNDS])
        yield f"{subject} {verb} significance when {confounds} are controlled for{shown}"
    if checks.redundancy is not None:
        yield (
            f"{counted(int(m['selection/union_size']), 'key neuron')} in "
            f"{counted(int(m['redundancy/clusters']), 'cluster')} of correlated neurons; "
            f"their effective dimension is {m['redundancy/effective_dimension']:.1f}"
        )
