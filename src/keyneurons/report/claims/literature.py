"""The claims and their sources, as far as this project knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyneurons.analysis.claims import Verdict
from keyneurons.report.claims.records import Claim, Judged, MeasuredRun

UNION = (1000 / 4096, 2000 / 4096)
CLAIMED_ACCURACY = 0.85
OVERLAP = (0.2, 0.4)
PAPER_ACCURACY = 0.91
PAPER_SHARE = 5228 / (32 * 14336)
GURNEE_F1: Mapping[str, float] = {
    "NOUN": 0.640, "VERB": 0.765, "ADJ": 0.707, "ADV": 0.637, "DET": 0.805, "ADP": 0.701, "AUX": 0.794, "PRON": 0.655,
    "CCONJ": 0.966, "PUNCT": 0.911, "PROPN": 0.714,
}  # fmt: skip
"""Held-out F1 of one feed-forward neuron per tag: EWT, Pythia-160m."""

UNKNOWN = "source not known"
PAPER = "arXiv:2511.06519 (Llama 3 8B)"
GURNEE = "Gurnee et al. 2023, arXiv:2305.01610 (Pythia-160m)"
NULL = "He & Mesgarani (Qwen3-0.6B)"
SWEEP = "keyneurons experiment=claims"
ATTRIBUTED = "keyneurons experiment=paper_2511_06519"

CLAIMS: Mapping[str, Claim] = {
    "union": Claim(
        "The key neurons of all tags are 1,000 to 2,000 of the 4,096 neurons of a layer",
        UNKNOWN,
        "the share of the layer lies between 24.4 % and 48.8 % in every layer; in none: it does not hold",
        SWEEP,
    ),
    "accuracy": Claim(
        "A classifier on the key neurons has an accuracy above .85",
        UNKNOWN,
        "the 95 % interval of the accuracy, in the layer with the best dev accuracy, is above .85; below: it does not "
        "hold",
        SWEEP,
    ),
    "overlap": Claim(
        "The sets of two tags share 20 to 40 % of their neurons",
        UNKNOWN,
        "the mean overlap coefficient lies between .2 and .4 in every layer; in none: it does not hold",
        SWEEP,
    ),
    "layers": Claim(
        "Grammar neurons are in middle-to-late layers",
        UNKNOWN,
        "of the key neurons of all layers ranked together, more are in the last two thirds of the layers than chance "
        "puts there (exact binomial test, p <= .05); fewer: it does not hold",
        "keyneurons site=mlp layer=all scope=model",
    ),
    "paper accuracy": Claim(
        "The activations of the final layer's key neurons predict the tag with an accuracy of up to .91",
        PAPER,
        "the 95 % interval of the accuracy, with the paper's selection in the last layer, is above .91; below: it does "
        "not hold",
        f"{ATTRIBUTED} layer=-1",
    ),
    "paper share": Claim(
        "The key neurons of NOUN, VERB, ADJ and ADV are 1.14 % of the feed-forward neurons",
        PAPER,
        "the share, with the paper's selection in all layers, is between half and twice 1.14 %; else it does not hold",
        ATTRIBUTED,
    ),
    "classes": Claim(
        "One neuron detects a tag of a closed class much better than one of an open class",
        GURNEE,
        "the mean F1 of the closed classes is above that of the open ones (exact permutation test over the tags, p <= "
        ".05); below: it does not hold",
        "keyneurons site=mlp layer=all scope=model top_k=1",
    ),
    "null": Claim(
        "Ablating grammar neurons never hurts more than ablating random neurons",
        NULL,
        "no tag's own words are hurt more by the lesion than by random sets (adjusted p <= .05), although enough sets "
        "were drawn to find it; for some tag: it does not hold",
        "keyneurons site=mlp lesion=zero lesion.sets=19 lesion.further_sets=180",
    ),
}


def judged(
    name: str, verdict: Verdict, measured: str, control: str, reason: str, runs: Sequence[MeasuredRun]
) -> Judged:
    """The claim of a name, judged by some runs."""
    return Judged(CLAIMS[name], verdict, measured, control, reason, tuple(run.name for run in runs))


def unmeasured(name: str) -> Judged:
    """The claim of a name, which no run measured."""
    return judged(
        name,
        "cannot be told",
        "not measured",
        "",
        f"needs a run of this model and treebank, such as {CLAIMS[name].command}",
        (),
    )
