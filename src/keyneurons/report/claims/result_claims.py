"""Claims on results: accuracies, single neurons, lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyneurons.analysis.claims import class_contrast, exceeds, null_holds
from keyneurons.metrics import ACCURACY, ALPHA, DEV_ACCURACY, RANDOM, control_accuracy, high, low
from keyneurons.report.claims.literature import CLAIMED_ACCURACY, GURNEE_F1, PAPER_ACCURACY, judged, unmeasured
from keyneurons.report.claims.records import Judged, MeasuredRun
from keyneurons.report.hypotheses.records import LesionEffect
from keyneurons.report.phrases import counted

CONTROLS: Mapping[str, str] = {
    "random neurons": RANDOM,
    "neurons of highest variance": control_accuracy("top_variance"),
    "form of the word": control_accuracy("word_form"),
}
"""Labels and accuracies of the controls beside a claimed accuracy."""


def accuracy_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """The accuracy on the key neurons of the best layer."""
    single = [run for run in runs if run.single]
    if not single:
        return unmeasured("accuracy")
    best = max(single, key=lambda run: run.metrics[DEV_ACCURACY])
    return _above("accuracy", best, CLAIMED_ACCURACY, f"layer {best.sets.layers[0]}, the best of {len(single)} on dev")


def paper_accuracy_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """The accuracy on the key neurons of the last layer, selected as in arXiv:2511.06519."""
    own = [run for run in runs if run.attributed and run.layer == -1]
    if not own:
        return unmeasured("paper accuracy")
    where = f"layer {own[0].sets.layers[0]}, read at the {own[0].key['read_at']}"
    return _above("paper accuracy", own[0], PAPER_ACCURACY, where)


def classes_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """F1 of single neurons of closed and of open classes."""
    own = [run for run in runs if run.whole and run.key["top_k"] == 1 and run.sets.site == "mlp"]
    f1 = _of_tags(own[0].metrics, "per_tag/f1/") if own else {}
    contrast, chance = class_contrast(f1), class_contrast(_of_tags(own[0].metrics, "per_tag/random_f1/") if own else {})
    if contrast.difference is None or chance.difference is None:
        return unmeasured("classes")
    return judged(
        "classes",
        contrast.verdict(ALPHA),
        f"mean F1 of closed minus open classes {contrast.difference:+.3f} (p = {contrast.p_value:.2g}); {_rank(f1)}",
        f"random neurons: {chance.difference:+.3f}",
        ", ".join(f"{tag} {value:.2f}" for tag, value in sorted(f1.items(), key=lambda pair: -pair[1])),
        own[:1],
    )


def null_claim(runs: Sequence[MeasuredRun]) -> Judged:
    """Whether the lesion of a tag's key neurons hurts its words more than random lesions do."""
    for run in runs:
        if run.hypotheses is None or (study := run.hypotheses.study) is None:
            continue
        effects = {row.tag: row.lesion for row in run.hypotheses.rows if row.lesion is not None}
        adjusted = {tag: effect.p_adjusted for tag, effect in effects.items()}
        hurt = [tag for tag, p in adjusted.items() if p <= study.alpha]
        least = min(adjusted, key=adjusted.__getitem__)
        sets = f"up to {study.most_sets} {study.family} sets"
        verdict = null_holds([*adjusted.values()], study.least_p_value, study.alpha)
        measured = f"{len(hurt)} of {counted(len(effects), 'tag')}; smallest adjusted p {adjusted[least]:.2g} ({least})"
        return judged("null", verdict, measured, sets, _null_reason(verdict, hurt, effects), [run])
    return unmeasured("null")


def _null_reason(verdict: str, hurt: Sequence[str], effects: Mapping[str, LesionEffect]) -> str:
    if hurt:
        return f"hurt more than by random sets: {', '.join(hurt)}"
    if verdict == "cannot be told":
        return f"too few random sets for {counted(len(effects), 'test')}: raise lesion.further_sets"
    sizes = [effect.detectable for effect in effects.values() if effect.detectable is not None]
    power = f"; an increase above {max(sizes):.3f} bits per word would have been found with 80 % power" if sizes else ""
    return f"no effect detected{power}"


def _above(name: str, run: MeasuredRun, bound: float, where: str) -> Judged:
    """Judge a claimed accuracy, beside the controls that the run measured."""
    m = run.metrics
    controls = {label: m[metric] for label, metric in CONTROLS.items() if metric in m}
    above = [label for label, value in controls.items() if value > bound]
    reason = f"also above {bound:.2f}: {', '.join(above)}" if above else f"no control is above {bound:.2f}"
    return judged(
        name,
        exceeds(m[low(ACCURACY)], m[high(ACCURACY)], bound),
        f"{m[ACCURACY]:.3f} ({m[low(ACCURACY)]:.3f} to {m[high(ACCURACY)]:.3f}), {where}",
        "; ".join(f"{label} {value:.3f}" for label, value in controls.items()) or "none measured",
        reason if controls else "the run has no controls",
        [run],
    )


def _rank(f1: Mapping[str, float]) -> str:
    """The rank correlation with the published F1 of the tags that both have."""
    from scipy.stats import spearmanr

    common = sorted(set(f1) & set(GURNEE_F1))
    if len(common) < 3:
        return f"{counted(len(common), 'tag')} in common with the paper"
    rho = spearmanr([f1[tag] for tag in common], [GURNEE_F1[tag] for tag in common]).statistic
    return f"rank correlation with the paper's F1 {rho:.2f} over {counted(len(common), 'tag')}"


def _of_tags(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
