"""What a run measures of its sets, its words and its data, by the names of MLflow."""

from __future__ import annotations

from keyneurons.analysis.overlap import mean_off_diagonal
from keyneurons.pipeline.lesions.results import LesionResult
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import SPLITS, Labels, NeuronSets, Overlap, Treebank


def set_metrics(sets: NeuronSets, shared: Overlap) -> dict[str, float]:
    """How large the union of the key neurons is, and how far the tags share them."""
    size = len(sets.union())
    metrics = {
        "selection/union_size": float(size),
        "selection/union_fraction": size / (len(sets.layers) * sets.neurons_per_layer),
        "overlap/mean_count": mean_off_diagonal(shared.count.astype(float)),
        "overlap/mean_expected_count": mean_off_diagonal(shared.expected),
    }
    metrics |= {f"selection/size/{tag}": float(len(sets.tags[tag])) for tag in sets}
    if sum(bool(sets.tags[tag]) for tag in sets) > 1:  # else no pair of sets has these
        metrics["overlap/mean_coefficient"] = mean_off_diagonal(shared.coefficient)
        metrics["overlap/mean_jaccard"] = mean_off_diagonal(shared.jaccard)
    return metrics


def attribution_metrics(words: ScoredWords) -> dict[str, float]:
    """How many words were attributed, and how far attributions are from complete in the worst layer."""
    found = {"attribution/words": float(len(words.sentences))}
    if words.residuals:
        found["attribution/residual"] = max(words.residuals.values())
    return found


def lesion_metrics(found: LesionResult) -> dict[str, float]:
    """Changes of surprisal under the lesion of each tag's set, beside their controls, and the double dissociation."""
    metrics, prefix = {}, f"lesion/{found.study.lesion.mode}"
    for i, tag in enumerate(found.tags):
        metrics[f"{prefix}/change/{tag}"] = float(found.change[i, i])
        metrics[f"{prefix}/intact_bits/{tag}"] = found.intact[tag]
        if tag in found.guard:
            metrics[f"{prefix}/guard/{tag}"] = found.guard[tag]
    for family, against in found.against.items():
        for tag, effect in against.effects.items():
            metrics[f"{prefix}/{family}/change/{tag}"] = effect.control_mean
            metrics[f"{prefix}/{family}/p_value/{tag}"] = effect.p_value
            if effect.effect_size is not None:
                metrics[f"{prefix}/{family}/effect_size/{tag}"] = effect.effect_size
        if against.dissociation is not None:
            metrics[f"{prefix}/{family}/diagonal_advantage"] = against.dissociation.diagonal_advantage
            metrics[f"{prefix}/{family}/diagonal_p_value"] = against.dissociation.p_value
            metrics[f"{prefix}/{family}/double_dissociations"] = float(len(against.dissociation.pairs))
    for name, reading in found.readings.items():
        for tag in found.tags:
            metrics[f"lesion/intact/{name}/{tag}"] = reading.intact[tag]
            metrics[f"{prefix}/{name}/{tag}"] = reading.lesioned[tag]
        for family, effects in reading.against.items():
            for tag, effect in effects.items():
                metrics[f"{prefix}/{family}/{name}/{tag}"] = reading.intact[tag] - effect.control_mean
                metrics[f"{prefix}/{family}/{name}_p_value/{tag}"] = effect.p_value
    if found.generated is not None:
        for tag, (_, own, control) in found.generated.shares.items():
            metrics[f"{prefix}/generated_share/{tag}"] = own
            metrics[f"{prefix}/{found.study.families[0]}/generated_share/{tag}"] = control
    if found.pairs is not None:
        metrics["lesion/intact/pair_accuracy"] = found.pairs.accuracy["intact"]
        for tag in found.tags:
            metrics[f"{prefix}/pair_accuracy/{tag}"] = found.pairs.accuracy[tag]
            metrics[f"{prefix}/{found.study.families[0]}/pair_accuracy/{tag}"] = found.pairs.controls[tag]
    first = found.against[found.study.families[0]].dissociation
    if first is not None:
        metrics["lesion/diagonal_advantage"] = first.diagonal_advantage
        metrics["lesion/diagonal_p_value"] = first.p_value
    return metrics


def data_metrics(treebank: Treebank, labels: Labels) -> dict[str, float]:
    """How much text stands behind the other figures."""
    counts = {f"data/{split}_words": float(len(labels.splits[split].rows)) for split in SPLITS}
    dropped = float(sum(treebank.duplicates_dropped.values()))
    return {
        **counts,
        "data/tags": float(len(labels.names)),
        "data/duplicates_dropped": dropped,
        "data/unreadable_dropped": float(treebank.unreadable_dropped),
    }
