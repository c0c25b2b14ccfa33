"""Names of the measures of generated texts in reports."""

from __future__ import annotations

from keyneurons.pipeline.steering.measures import BITS, DISTANCE, DRIFT, KNOWN, PAIRS, SHARE, STANZA
from keyneurons.pipeline.steering.study import PERPLEXITY

LABELS = {
    SHARE: "share of the tag",
    STANZA: "share of the tag by Stanza",
    KNOWN: "share of known words",
    BITS: "bits per token in the intact model",
    PERPLEXITY: "perplexity in the intact model",
    DISTANCE: "distance from the intact text",
    DRIFT: "topic drift",
    PAIRS: "minimal pairs judged correctly",
}
