"""The selection of a configuration: by activations, by attributions, or given sets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from keyneurons.activations.reader import ActivationReader
from keyneurons.attribution.ablation import AblationEffect
from keyneurons.attribution.method import Attribution
from keyneurons.attribution.reader import AttributionReader
from keyneurons.build.components import instantiate_component
from keyneurons.build.neuron_sets import build_given_sets
from keyneurons.config import schema
from keyneurons.config.overrides import options_of
from keyneurons.memo import Memo
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Traits
from keyneurons.selection.methods.from_file import FromFile
from keyneurons.selection.rules import Rule
from keyneurons.selection.scorer import NeuronScorer


@dataclass(frozen=True)
class Method:
    """A selection method by name: a scorer of activations or attributions, or given sets."""

    name: str
    component: NeuronScorer | Attribution | FromFile

    @property
    def attribution(self) -> Attribution | None:
        """The attribution to score; None if the method does not score attributions."""
        return self.component if isinstance(self.component, Attribution) else None

    @property
    def scorer(self) -> NeuronScorer | None:
        """The scorer; None for given sets."""
        if isinstance(self.component, FromFile):
            return None
        return self.component.scorer if isinstance(self.component, Attribution) else self.component

    @property
    def traits(self) -> Traits | None:
        """Requirements and abilities of the scorer; None for given sets."""
        return None if self.scorer is None else scoring_of(self.scorer).traits


def build_method(config: schema.Config, option: str) -> Method:
    """The selection method, named by its option, or by its target if that was overridden.

    Raises:
        ValueError: the method rejects its arguments or is not callable.
    """
    component, target = instantiate_component("selection", config.selection), config.selection.target
    name = target if option in options_of("selection") and not target.startswith("keyneurons.") else option
    if not isinstance(component, Attribution | FromFile) and not callable(component):
        raise ValueError(
            f"selection._target_={target} must make a callable (values, tags, n_tags) -> scores, "
            f"got {type(component).__name__}; a function needs +selection._partial_=true"
        )
    return Method(name, component)


def build_selection(
    config: schema.Config, method: Method, read: ActivationReader, memo: Memo | None = None
) -> Selection | GivenSets:
    """The selection of key neurons, or the given sets; call ``check_selection`` first.

    Args:
        config: the validated configuration.
        method: the selection method.
        read: the reader of the run's activations, which given sets must fit.
        memo: cache of scores shared by the runs of a process; None makes a new one.
    """
    if isinstance(method.component, FromFile):
        return build_given_sets(method.component.path, config, read)
    assert method.scorer is not None
    threshold = config.threshold
    rule = Rule(config.top_k, config.scope, config.sign, threshold.kind, threshold.alpha, config.mass)
    memory = config.activations.memory_mb * 2**20
    memo = Memo() if memo is None else memo
    return Selection(method.scorer, rule, threshold.permutations, threshold.permute, memory, config.seed, memo)


def check_selection(config: schema.Config, method: Method) -> None:
    """Check the selection without the model.

    Raises:
        ValueError: the method does not support the rule, the threshold, the sample, or
            ``activations.store=moments``.
    """
    if method.traits is None:
        _check_given(config)
    else:
        _check_threshold(config.threshold, method.name, method.traits)
    _check_sample(config, method)
    if config.activations.store == "moments":
        _check_moments(config, method)


def _check_given(config: schema.Config) -> None:
    """Check that nothing needs scores, which given sets lack.

    Raises:
        ValueError: the rule or the controls of lesions need scores.
    """
    needed = {
        "threshold.kind=none": config.threshold.kind == "none",
        "sign=both": config.sign == "both",
        "mass=null": config.mass is None,
    }
    if missing := [override for override, is_set in needed.items() if not is_set]:
        raise ValueError(f"selection=from_file takes the sets as they are, cut to top_k; it needs {', '.join(missing)}")
    if config.lesion is not None and "lowest" in config.lesion.families:
        others = ",".join(family for family in config.lesion.families if family != "lowest") or "random"
        raise ValueError(
            f"lesion.families: lowest needs the scores of all neurons, which selection=from_file lacks; "
            f"use lesion.families=[{others}]"
        )


def check_basis(read: ActivationReader, method: Method) -> None:
    """Check that the method can score units of the basis.

    Raises:
        ValueError: it scores the effects of neurons on predictions.
    """
    if method.attribution is not None and read.basis_key:
        raise ValueError(
            f"selection={method.name} scores effects of neurons inside the model; it needs basis=neurons, "
            f"got basis={read.basis.name}"
        )


def _check_threshold(threshold: schema.Threshold, name: str, traits: Traits) -> None:
    """Check that a method supports a threshold.

    Raises:
        ValueError: it does not.
    """
    if threshold.kind != "none" and not traits.permutable and not traits.tested:
        raise ValueError(f"selection={name} has no p-values; use threshold.kind=none")
    if threshold.kind == "permutation" and not traits.permutable:
        raise ValueError(
            f"threshold.kind=permutation does not suit selection={name}, which has its own test; use threshold.kind=fdr"
        )
    if threshold.kind == "fdr" and not traits.tested:
        raise ValueError(
            f"threshold.kind=fdr needs p-values, which selection={name} lacks; use threshold.kind=permutation"
        )
    if threshold.kind == "permutation" and threshold.permutations < (least := math.ceil(1 / threshold.alpha) - 1):
        raise ValueError(
            f"threshold.permutations must be at least {least} for threshold.alpha={threshold.alpha}, "
            f"got {threshold.permutations}"
        )


def _check_sample(config: schema.Config, method: Method) -> None:
    """Check that the method scores the activations of all words if a sample is set.

    Raises:
        ValueError: it does not.
    """
    if config.sample_words is None:
        return
    if method.traits is None:
        raise ValueError("sample_words does not suit selection=from_file, which scores no words; use sample_words=null")
    if method.attribution is not None:
        raise ValueError(
            f"sample_words does not suit selection={method.name}, which has its own sample: selection.words_per_tag"
        )


def _check_moments(config: schema.Config, method: Method) -> None:
    """Check that a configuration needs only sums and single columns.

    Raises:
        ValueError: the method or another option needs the activations of all neurons.
    """
    if isinstance(method.attribution, AblationEffect):
        raise ValueError(f"selection={method.name} stores the measured effects: activations.store=true")
    traits, has_values = method.traits, config.sample_words is not None
    if traits is not None and not has_values:
        if not traits.views:
            raise ValueError(
                f"selection={method.name} needs the values of words, which activations.store=moments lacks; "
                "use sample_words=N or activations.store=true"
            )
        if method.attribution is None and any(view.of_all_layers for view in traits.views):
            raise ValueError(f"selection={method.name} needs all layers at once: activations.store=true")
    streamed = method.attribution is not None
    needed = {
        "threshold.kind=fdr or none": has_values or config.threshold.kind != "permutation",
        "reliability.halves=0": not streamed or config.reliability.halves == 0,
        "reliability.bootstraps=0": traits is None or has_values or config.reliability.bootstraps == 0,
        "layer_by_layer.read_at=[]": not config.layer_by_layer.read_at,
    }
    if missing := [override for override, is_set in needed.items() if not is_set]:
        raise ValueError(f"activations.store=moments also needs {', '.join(missing)}")


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
    if isinstance(attribution, AblationEffect) and attribution.candidates > (width := read.model.width(config.site)):
        raise ValueError(
            f"selection.candidates must lie in 1..{width} (the neurons of a layer), got {attribution.candidates}"
        )
    if attribution.baseline == "mean" and config.activations.store is not True:
        raise ValueError("selection.baseline=mean needs activations.store=true")
    memory = config.activations.memory_mb * 2**20
    reader = AttributionReader(replace(read, read_at="prediction"), attribution, memory)
    if read.model.family.norm is None:
        raise ValueError("attribution needs the path of the model's last norm: model.modules.norm")
    read.model.needs_head = True
    return reader
