"""The selection method of a configuration, on activations or on attributions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from keyneurons.activations.reader import ActivationReader
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.reader import AttributionReader
from keyneurons.build.components import instantiate_component
from keyneurons.build.probing import build_controls, reads_all
from keyneurons.config import schema
from keyneurons.config.overrides import options_of
from keyneurons.memo import Memo
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Traits
from keyneurons.selection.rules import Rule
from keyneurons.selection.scorer import NeuronScorer


@dataclass(frozen=True)
class Method:
    """A selection method: name, scorer, and attribution if it does not score activations."""

    name: str
    scorer: NeuronScorer
    attribution: Attribution | None

    @property
    def traits(self) -> Traits:
        """Requirements and abilities of the scorer."""
        return scoring_of(self.scorer).traits


def build_method(config: schema.Config, option: str) -> Method:
    """The selection method, named by its option, or by its target if that was overridden.

    Raises:
        ValueError: the method rejects its arguments or is not callable.
    """
    component, target = instantiate_component("selection", config.selection), config.selection.target
    name = target if option in options_of("selection") and not target.startswith("keyneurons.") else option
    if isinstance(component, Attribution):
        return Method(name, component.scorer, component)
    if not callable(component):
        raise ValueError(
            f"selection._target_={target} must make a callable (values, tags, n_tags) -> scores, "
            f"got {type(component).__name__}; a function needs +selection._partial_=true"
        )
    return Method(name, component, None)


def build_selection(config: schema.Config, method: Method, memo: Memo | None = None) -> Selection:
    """The selection of key neurons; ``memo`` caches scores, None makes a new one.

    Raises:
        ValueError: the method does not support the threshold, or streaming without a store.
    """
    traits, threshold = method.traits, config.threshold
    if threshold.kind == "permutation" and not traits.permutable:
        raise ValueError(
            f"threshold.kind=permutation does not suit selection={method.name}, which has its own test; "
            "use threshold.kind=fdr"
        )
    if threshold.kind == "fdr" and not traits.tested:
        raise ValueError(
            f"threshold.kind=fdr needs p-values, which selection={method.name} lacks; use threshold.kind=permutation"
        )
    if threshold.kind == "permutation" and threshold.permutations < (least := math.ceil(1 / threshold.alpha) - 1):
        raise ValueError(
            f"threshold.permutations must be at least {least} for threshold.alpha={threshold.alpha}, "
            f"got {threshold.permutations}"
        )
    if not config.activations.store:
        _check_streaming(config, method)
    rule = Rule(config.top_k, config.scope, config.sign, threshold.kind, threshold.alpha, config.mass)
    memory = config.activations.memory_mb * 2**20
    memo = Memo() if memo is None else memo
    return Selection(method.scorer, rule, threshold.permutations, threshold.permute, memory, config.seed, memo)


def _check_streaming(config: schema.Config, method: Method) -> None:
    """Check that a configuration needs no stored activations.

    Raises:
        ValueError: the method or another option needs them.
    """
    if not method.traits.views:
        raise ValueError(f"activations.store=false supports only methods that need sums, got selection={method.name}")
    few = [name for name, control in build_controls(config).items() if not reads_all(control)]
    needed = {
        "threshold.kind=fdr or none": config.threshold.kind != "permutation",
        f"control=[{','.join(few)}]": len(few) == len(config.control),
        "worth.sizes=0": config.worth.sizes == 0,
        "reliability.halves=0": config.reliability.halves == 0,
        "reliability.bootstraps=0": config.reliability.bootstraps == 0,
        "layer_by_layer.read_at=[]": not config.layer_by_layer.read_at,
    }
    if missing := [override for override, is_set in needed.items() if not is_set]:
        raise ValueError(f"activations.store=false also needs {', '.join(missing)}")


def build_attribution(config: schema.Config, method: Method, read: ActivationReader) -> AttributionReader | None:
    """The reader of attributions, or None if the method scores activations.

    Raises:
        ValueError: the model does not predict words, or the method does not support the site or
            needs a store.
    """
    attribution = method.attribution
    if attribution is None:
        return None
    if attribution.along.joint and config.site == "residual" and len(read.layers) > 1:
        raise ValueError("path=joint cannot scale the residual stream of several layers; use path=layer")
    if attribution.baseline == "mean" and not config.activations.store:
        raise ValueError("selection.baseline=mean needs activations.store=true")
    memory = config.activations.memory_mb * 2**20
    reader = AttributionReader(replace(read, read_at="prediction"), attribution, memory)
    if read.model.family.norm is None:
        raise ValueError("attribution needs the path of the model's last norm: model.modules.norm")
    read.model.needs_head = True
    return reader
