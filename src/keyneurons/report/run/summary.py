"""What a run says to its reader: the verdict, the table by tag, the figures beside their controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyneurons.data.word_features import CONFOUNDS
from keyneurons.metrics import ALPHA, UNION_SHARE, UNION_SIZE
from keyneurons.pipeline.evidence import ControlResult, Evidence
from keyneurons.pipeline.experiment import Result
from keyneurons.records import SPLITS
from keyneurons.report.markup import block, inline, table
from keyneurons.report.run.layers import layer_facts
from keyneurons.report.run.lesions import lesion_facts, lesion_rows, lesion_verdict


@dataclass(frozen=True)
class Summary:
    """Everything shown on the console and in the run's description.

    ``columns`` head the table by tag, whose cells are in ``tags``; a cell is ``-`` where there is nothing to say.
    ``lesions`` is a table of its own, its head first; empty if there were none.
    """

    title: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    accuracies: tuple[tuple[str, str], ...]
    lesions: tuple[tuple[str, ...], ...]
    verdict: str


def summarise(result: Result) -> Summary:
    """Put a result into words and numbers."""
    read = result.experiment.read
    rule = result.experiment.selection.rule
    title = (
        f"{read.model.files.id}{' with random weights' if read.model.random_weights else ''}, {read.site}, "
        f"{layers_told(result.key.sets.layers)}: {rule.top_k} key neurons per tag by {result.experiment.method}"
    )
    columns = {"tag": [*result.text.labels.names], **_tag_columns(result)}
    rows = tuple(zip(*columns.values(), strict=True))
    lesions: tuple[tuple[str, ...], ...] = ()
    told = verdict(result)
    if result.lesions is not None:
        head, of_tags = lesion_rows(result.lesions)
        lesions = (head, *of_tags)
        told = f"{told} {lesion_verdict(result.lesions)}".strip()
    return Summary(title, _facts(result), tuple(columns), rows, _accuracies(result), lesions, told)


def layers_told(layers: Sequence[int]) -> str:
    """Which layers, in a few words."""
    return f"layer {', '.join(map(str, layers))}" if len(layers) <= 8 else f"{len(layers)} layers"


def verdict(result: Result) -> str:
    """A plain sentence for each control with several draws: whether the key neurons beat it."""
    key = result.evidence.key
    if key is None:
        rule = result.experiment.selection.rule
        return (
            f"No key neurons: none of any tag passes threshold.kind={rule.threshold}, "
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
    hint = f" With {n} sets p cannot be below {least:.3f}: draw more of them." if least > ALPHA else ""
    return f"Key neurons are not distinguishable from {control.label}: {figures}.{hint}"


def markdown(summary: Summary) -> str:
    """The summary as the description of an MLflow run."""
    lines = [f"### {block(summary.title)}", "", f"**{inline(summary.verdict)}**", ""]
    lines += [*table(("accuracy on test words", ""), summary.accuracies), "", *table(summary.columns, summary.tags)]
    if summary.lesions:
        lines += ["", *table(summary.lesions[0], summary.lesions[1:])]
    lines += ["", *(f"- {block(fact)}" for fact in summary.facts)]
    return "\n".join(lines) + "\n"


def _tag_columns(result: Result) -> dict[str, list[str]]:
    """The table by tag: words, neurons where some tag has fewer than asked for, the best one, F1, stability."""
    names, m, sets = result.text.labels.names, result.metrics, result.key.sets
    asked = result.experiment.selection.rule.max_size(len(sets.layers))
    best = [next(iter(sets.tags[tag]), None) for tag in names]
    columns = {"train words": [str(count) for count in result.text.labels.counts("train")]}
    if any(len(sets.tags[tag]) < asked for tag in names):
        columns["neurons"] = [f"{len(sets.tags[tag])} of {asked}" for tag in names]
    columns["best neuron"] = [f"{sets.site}.{n.layer}.{n.neuron}" if n else "-" for n in best]
    columns["score"] = [f"{n.score:.3f}" if n else "-" for n in best]
    measured = {"F1": "per_tag/f1", "random F1": "per_tag/random_f1"}
    measured |= {"stability": "stability/halves/jaccard"} if "halves" in result.reliability.stability else {}
    for title, metric in measured.items():
        columns[title] = [f"{m[key]:.3f}" if (key := f"{metric}/{tag}") in m else "-" for tag in names]
    return columns


def _accuracies(result: Result) -> tuple[tuple[str, str], ...]:
    """Accuracies with their controls, and once more on words of unseen types if they were measured."""
    m = result.metrics
    size = f"{m[UNION_SIZE]:.0f}, {m[UNION_SHARE]:.0%} of the neurons read"
    rows = _accuracies_of(result.evidence, f" ({size})")
    if (unseen := result.unseen) is not None:
        tags, words = len(unseen.labels.names), len(unseen.labels.splits["test"].rows)
        rows += [(f"the same on {words} test words of {tags} tags whose types train lacks", "")]
        rows += [(f"  {name}", value) for name, value in _accuracies_of(unseen.evidence, "")]
    return tuple(rows)


def _accuracies_of(evidence: Evidence, size: str) -> list[tuple[str, str]]:
    rows = [] if evidence.key is None else [(f"key neurons{size}", f"{evidence.key.scores.accuracy:.3f}")]
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
        facts.append(
            "read where the word is predicted; first words of sentences are left out (nothing but BOS before them)"
        )
    if labels.left_out:
        facts.append(
            "excluded tags (too few training words): " + ", ".join(f"{t} ({n})" for t, n in labels.left_out.items())
        )
    if n := sum(treebank.duplicates_dropped.values()):
        facts.append(f"{n} dev and test sentences dropped that stand in an earlier split")
    if n := treebank.unreadable_dropped:
        facts.append(f"{n} words left out: the tokenizer has no token for them")
    if treebank.shared_spans:
        facts.append(f"{treebank.shared_spans} words share the span of their multi-word token")
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
    yield f"{each:.0f} train words of each tag attributed to the neurons where they are predicted"
    if result.key.words.residuals:
        name, worst = max(result.key.words.residuals.items(), key=lambda named: named[1])
        yield f"their sums are off the change of the {attribute.method.target} by {worst:.2g} of it at most ({name})"


def _reliability_facts(result: Result) -> Iterator[str]:
    m, found = result.metrics, result.reliability
    for kind, told in {"halves": "the two halves of the train sentences", "bootstrap": "two resamples of them"}.items():
        if kind in found.stability:
            both = m[f"stability/{kind}/jaccard"], m[f"stability/{kind}/expected_jaccard"]
            yield f"sets by {told} have a Jaccard of {both[0]:.3f} on average, {both[1]:.3f} expected by chance"
    if found.confounds is not None:
        vanishing = [
            f"{tag} {result.key.sets.site}.{n.layer}.{n.neuron}"
            for tag in result.key.sets
            for n, c in zip(result.key.sets.tags[tag], found.confounds[tag], strict=True)
            if c.vanishes
        ]
        shown = f": {', '.join(vanishing[:5])}{' ...' if len(vanishing) > 5 else ''}" if vanishing else ""
        without = counted(len(vanishing), "key neuron")
        yield f"{without} not significant after controlling for {_listed(CONFOUNDS)}{shown}"
    if found.redundancy is not None:
        yield (
            f"{counted(int(m['selection/union_size']), 'key neuron')} in "
            f"{counted(int(m['redundancy/clusters']), 'cluster')} of correlated neurons; "
            f"their effective dimension is {m['redundancy/effective_dimension']:.1f}"
        )


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 key neuron``, ``2 key neurons``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}".replace("_", " ")
