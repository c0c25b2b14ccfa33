"""The summary of a run: verdict, table of tags, accuracies with their controls, further facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyneurons.attribution.ablation import AblationEffect
from keyneurons.metrics import SAMPLED_WORDS, UNION_SHARE, UNION_SIZE
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.experiment import Result
from keyneurons.records import SPLITS
from keyneurons.report.markup import block, inline, table
from keyneurons.report.phrases import CONTROLLED_FOR, counted
from keyneurons.report.run.given_sets import given_facts
from keyneurons.report.run.layers import layer_facts
from keyneurons.report.run.lesions import lesion_facts, lesion_rows, lesion_verdict
from keyneurons.report.run.pairs import pair_rows
from keyneurons.report.run.title import run_title
from keyneurons.report.run.verdict import answer_rows, sentence
from keyneurons.report.run.worth import worth_sentence

ACCURACY_COLUMNS = ("accuracy on test words", "", "key neurons minus it (95 % interval)", "z", "p")
ANSWER_COLUMNS = ("verdict", "answer", "p (Holm)", "because")
RESAMPLES = {
    "halves": "two halves of the train sentences",
    "bootstrap": "two bootstrap resamples of the train sentences",
}


@dataclass(frozen=True)
class Summary:
    """The content of the console output and of the run's description in MLflow.

    ``columns`` is the head of the table of tags and ``tags`` its rows; ``-`` marks missing values.
    ``accuracies`` is the table of the key neurons and their controls, ``answers`` that of the
    questions of the verdict, ``lesions`` that of lesions and ``pairs`` that of minimal pairs, head
    first; empty without lesions or pairs.
    """

    title: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    accuracies: tuple[tuple[str, ...], ...]
    answers: tuple[tuple[str, str, str, str], ...]
    lesions: tuple[tuple[str, ...], ...]
    pairs: tuple[tuple[str, ...], ...]
    verdict: str
    lesion_verdict: str


def summarise(result: Result) -> Summary:
    """Summarise the result of a run."""
    title = run_title(result)
    columns = {"tag": [*result.text.labels.names], **_tag_columns(result)}
    rows = tuple(zip(*columns.values(), strict=True))
    lesions: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[tuple[str, ...], ...] = ()
    said, of_lesions = verdict(result), ""
    if result.lesions is not None:
        head, by_tag = lesion_rows(result.lesions)
        lesions, of_lesions = (head, *by_tag), lesion_verdict(result.lesions)
        if result.lesions.pairs is not None:
            pairs = pair_rows(result.lesions.pairs, result.lesions.study.families[0])
    answers = answer_rows(result.verdict, result.evidence) if result.verdict is not None else ()
    accuracies = _accuracies(result)
    return Summary(title, _facts(result), tuple(columns), rows, accuracies, answers, lesions, pairs, said, of_lesions)


def verdict(result: Result) -> str:
    """One sentence: what the controls say about the key neurons."""
    if result.verdict is None:
        rule = result.experiment.selection.rule
        return (
            f"No key neurons: no neuron passes threshold.kind={rule.threshold}, "
            f"threshold.alpha={rule.alpha}, sign={rule.sign}."
        )
    return sentence(result.verdict, len(result.key_neurons.sets.union()))


def markdown(summary: Summary) -> str:
    """Format the summary as the description of an MLflow run."""
    said = f"{summary.verdict} {summary.lesion_verdict}".strip()
    lines = [f"### {block(summary.title)}", "", f"**{inline(said)}**", ""]
    if summary.answers:
        lines += [*table(ANSWER_COLUMNS, summary.answers), ""]
    lines += [*table(ACCURACY_COLUMNS, summary.accuracies), "", *table(summary.columns, summary.tags)]
    if summary.lesions:
        lines += ["", *table(summary.lesions[0], summary.lesions[1:])]
    lines += ["", *(f"- {block(fact)}" for fact in summary.facts)]
    if summary.pairs:
        lines += ["", *table(summary.pairs[0], summary.pairs[1:])]
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
    columns["best neuron"] = [sets.name(n.layer, n.neuron) if n else "-" for n in best]
    columns["score"] = [f"{n.score:.3f}" if n else "-" for n in best]
    measured = {"F1": "per_tag/f1", "random F1": "per_tag/random_f1", "p": "per_tag/p_adjusted"}
    measured |= {"stability": "stability/halves/jaccard"} if "halves" in result.reliability.stability else {}
    for title, metric in measured.items():
        columns[title] = [f"{m[key]:.3f}" if (key := f"{metric}/{tag}") in m else "-" for tag in names]
    return columns


def _accuracies(result: Result) -> tuple[tuple[str, ...], ...]:
    """Accuracies with their controls, repeated for words of unseen types if measured."""
    m = result.metrics
    size = f"{m[UNION_SIZE]:.0f}, {m[UNION_SHARE]:.0%} of the neurons read"
    rows = _accuracies_of(result.evidence, f" ({size})")
    if (unseen := result.unseen) is not None:
        tags, words = len(unseen.labels.names), len(unseen.labels.splits["test"].rows)
        rows += [(f"on {words} test words of unseen types ({tags} tags)", *[""] * 4)]
        rows += [(f"  {name}", *values) for name, *values in _accuracies_of(unseen.evidence, "")]
    return tuple(rows)


def _accuracies_of(evidence: Evidence, size: str) -> list[tuple[str, ...]]:
    """Name, accuracy, difference to the key neurons with interval, z and p of every control."""
    rows: list[tuple[str, ...]] = []
    if (own := evidence.accuracy) is not None:
        rows.append((f"key neurons{size}", f"{own.value:.3f}", f"({own.low:.3f} to {own.high:.3f})", "", ""))
    for name, control in evidence.controls.items():
        label, accuracy = control.label, f"{control.mean:.3f}"
        if control.spread is not None:
            label, accuracy = f"{label} (mean of {len(control.accuracy)})", f"{accuracy} ± {control.spread:.3f}"
        rows.append((f"{label}{control.note and f' ({control.note})'}", accuracy, *_compared(evidence, name)))
    return rows


def _compared(evidence: Evidence, name: str) -> tuple[str, str, str]:
    if (difference := evidence.differences.get(name)) is None:
        return "", "", ""
    z = f"{difference.z:.1f}" if difference.z is not None else ""
    shown = f"{difference.value:+.3f} ({difference.low:.3f} to {difference.high:.3f})"
    if evidence.controls[name].baseline is not None:
        shown = f"specificity {shown}"
    return shown, z, f"{difference.p_value:.4f}"


def _facts(result: Result) -> tuple[str, ...]:
    labels, treebank, m = result.text.labels, result.text.treebank, result.metrics
    words = " / ".join(str(len(labels.splits[split].rows)) for split in SPLITS)
    facts = [f"{treebank.id}: {words} words in train / dev / test, tags from {labels.column}"]
    if result.experiment.read.read_at == "prediction":
        facts.append("read where the word is predicted; first words of sentences are excluded (only BOS precedes them)")
    for name, files in treebank.pooled.items():
        facts.append(f"{name} has only a {' and a '.join(files)} file: its sentences were split at random")
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
    if result.worth is not None:
        facts.append(worth_sentence(result.worth))
    if SAMPLED_WORDS in m:
        every = len(labels.splits["train"].rows)
        facts.append(f"neurons scored on {m[SAMPLED_WORDS]:.0f} of {every} train words, drawn within each tag")
    if len(labels.names) == 2 and _same_sets(result):
        facts.append(
            "both tags have the same key neurons: what marks one of two tags marks the other; use sign=positive"
        )
    facts += _not_measured(result)
    return (
        *facts,
        *given_facts(result),
        *_attribution_facts(result),
        *_reliability_facts(result),
        *layer_facts(result),
        *(() if result.lesions is None else lesion_facts(result.lesions)),
    )


def _same_sets(result: Result) -> bool:
    """Whether all tags have the same key neurons, whatever the signs of their scores."""
    sets = result.key_neurons.sets
    return len({frozenset((n.layer, n.neuron) for n in sets.tags[tag]) for tag in sets}) == 1


def _not_measured(result: Result) -> Iterator[str]:
    for reason in result.evidence.skipped.values():
        yield f"not measured: {reason}"
    if result.experiment.store is not True and result.experiment.curves.sizes:
        yield "not measured: worth in random neurons: the activations of all neurons are not stored"


def _attribution_facts(result: Result) -> Iterator[str]:
    attribute = result.experiment.attribute
    if attribute is None:
        return
    each = result.metrics["attribution/words"] / len(result.text.labels.names)
    if isinstance(method := attribute.method, AblationEffect):
        yield (
            f"ablations of the {method.candidates} strongest neurons per tag and layer by {type(method.by).__name__}, "
            f"measured on {each:.0f} train words per tag"
        )
        return
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
            f"{tag} {result.key_neurons.sets.name(n.layer, n.neuron)} (r {c.with_tag:.2f}, then {c.partial:.2f})"
            for tag in result.key_neurons.sets
            for n, c in zip(result.key_neurons.sets.tags[tag], checks.confounds[tag], strict=True)
            if c.vanishes
        ]
        shown = f": {', '.join(vanishing[:5])}{' ...' if len(vanishing) > 5 else ''}" if vanishing else ""
        subject = counted(len(vanishing), "key neuron") if vanishing else "no key neuron"
        verb, their = ("lose", "their") if len(vanishing) > 1 else ("loses", "its")
        lost = f"more than {1 - result.experiment.checks.confound_share:.0%} of {their} correlation with the tag"
        yield f"{subject} {verb} {lost}, or {their} significance, when {CONTROLLED_FOR}{shown}"
    if checks.redundancy is not None:
        yield (
            f"{counted(int(m['selection/union_size']), 'key neuron')} in "
            f"{counted(int(m['redundancy/clusters']), 'cluster')} of correlated neurons; "
            f"their effective dimension is {m['redundancy/effective_dimension']:.1f}"
        )
