"""How neurons are scored and selected: by activations or by attribution."""

from __future__ import annotations

import math
from dataclasses import replace

from keyneurons.activations.reader import ActivationReader
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.paths import JointPath
from keyneurons.attribution.reader import AttributionReader
from keyneurons.build.probing import build_controls, reads_all
from keyneurons.config import schema
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.frequency import Frequency
from keyneurons.selection.moments import MomentScorer
from keyneurons.selection.rules import Rule
from keyneurons.selection.scorer import NeuronScorer, SignificantScorer


def build_selection(config: schema.Config, component: NeuronScorer | Attribution, method: str) -> Selection:
    """How key neurons are selected.

    Raises:
        ValueError: the method does not go with the threshold, or with activations that are not stored.
    """
    if isinstance(component, Bottom) and isinstance(component.of, Attribution):
        raise ValueError("selection=bottom turns round methods that score activations, not attributions")
    scorer = component.scorer if isinstance(component, Attribution) else component
    threshold = config.threshold
    if threshold.kind == "permutation" and isinstance(scorer, Frequency):
        raise ValueError(
            f"threshold.kind=permutation asks for more than a neuron frequent by chance for any tag; "
            f"selection={method} has a test of its own: threshold.kind=fdr"
        )
    if threshold.kind == "fdr" and not isinstance(scorer, SignificantScorer):
        raise ValueError(
            f"threshold.kind=fdr needs p-values, which selection={method} has not; use threshold.kind=permutation"
        )
    if threshold.kind == "permutation" and threshold.permutations < (least := math.ceil(1 / threshold.alpha) - 1):
        raise ValueError(
            f"threshold.permutations must be at least {least} for threshold.alpha={threshold.alpha}, "
            f"got {threshold.permutations}"
        )
    if not config.activations.store:
        _check_streaming(config, scorer, method)
    rule = Rule(config.top_k, config.scope, config.sign, threshold.kind, threshold.alpha, config.mass)
    memory = config.activations.memory_mb * 2**20
    return Selection(scorer, rule, threshold.permutations, threshold.permute, memory, config.seed)


def _check_streaming(config: schema.Config, scorer: NeuronScorer, method: str) -> None:
    """Refuse what cannot be had from one pass over the text.

    Raises:
        ValueError: it is asked for.
    """
    if not isinstance(scorer, MomentScorer):
        raise ValueError(f"activations.store=false goes with methods that need sums only, not selection={method}")
    few = [name for name, control in build_controls(config).items() if not reads_all(control)]
    needed = {
        "threshold.kind=fdr or none": config.threshold.kind != "permutation",
        f"control=[{','.join(few)}]": len(few) == len(config.control),
        "reliability.halves=0": config.reliability.halves == 0,
        "reliability.bootstraps=0": config.reliability.bootstraps == 0,
        "layer_by_layer.read_at=[]": not config.layer_by_layer.read_at,
    }
    if missing := [override for override, given in needed.items() if not given]:
        raise ValueError(f"activations.store=false also needs {', '.join(missing)}")


def build_attribution(
    config: schema.Config, component: NeuronScorer | Attribution, read: ActivationReader
) -> AttributionReader | None:
    """What attributes words to neurons, if neurons are selected by that.

    Raises:
        ValueError: the model does not predict words, or the method does not go with the site or without a store.
    """
    if not isinstance(component, Attribution):
        return None
    if isinstance(component.along, JointPath) and config.site == "residual" and len(read.layers) > 1:
        raise ValueError("path=joint cannot scale the residual stream of several layers; use path=layer")
    if component.baseline == "mean" and not config.activations.store:
        raise ValueError("selection.baseline=mean needs activations.store=true")
    memory = config.activations.memory_mb * 2**20
    reader = AttributionReader(replace(read, read_at="prediction"), component, memory)
    if read.model.family.norm is None:
        raise ValueError("attribution needs the path of the model's last norm: model.modules.norm")
    read.model.needs_head = True
    return reader
