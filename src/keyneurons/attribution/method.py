"""Selection methods that ask the model itself what a neuron adds to the prediction of a word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from keyneurons.attribution.completeness import Completeness
from keyneurons.attribution.gradients import Target
from keyneurons.attribution.integral import Quadrature, Rule
from keyneurons.attribution.paths import AttributionPath, GradientPath, JointPath, LayerPath
from keyneurons.records import Scope
from keyneurons.selection.methods.frequency import Frequency, FrequencyTest, MeanAttribution
from keyneurons.selection.moment_scorer import MomentScorer


@dataclass(frozen=True, kw_only=True)
class Attribution(ABC):
    """Which words are attributed to the neurons, to what target, and how neurons are ranked by it.

    Args:
        target: the probability of the word's first token, or its natural logarithm.
        baseline: what a neuron is compared with: zero, or its mean over the train words.
        words_per_tag: words of each tag, drawn at random from train: as many as the rarest tag has, at most so many.
        min_context: words that stand before a word in its sentence, at least.
        min_probability: words that the model gives less are left out.
        rank_by: how often a neuron is among the strongest of a word of the tag, or its mean attribution, to which all
            that follows says nothing.
        share: of the neurons that count as the strongest of a word.
        share_scope: whether these are found in each layer or over all layers read.
        signed: the strongest are those that raise the target most; else of the largest magnitude.
        test: of the frequencies: Fisher's exact of one tag against the rest, or chi-squared over all tags.
        min_cramers_v: neurons whose frequency depends less on the tag are no key neurons.
    """

    target: Target = "probability"
    baseline: Literal["zero", "mean"] = "zero"
    words_per_tag: int = 50
    min_context: int = 5
    min_probability: float = 0.0
    rank_by: Literal["frequency", "mean"] = "frequency"
    share: float = 0.05
    share_scope: Scope = "layer"
    signed: bool = True
    test: FrequencyTest = "fisher"
    min_cramers_v: float = 0.0

    def __post_init__(self) -> None:
        legal = {
            "target": ("probability", "log_probability"),
            "baseline": ("zero", "mean"),
            "rank_by": ("frequency", "mean"),
            "share_scope": ("layer", "model"),
        }
        for name, values in legal.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be {' or '.join(values)}, got {getattr(self, name)!r}")
        for name in ("words_per_tag", "min_context"):
            check_whole(name, getattr(self, name))
        for name in ("min_probability", "share", "min_cramers_v"):
            if type(getattr(self, name)) not in {int, float}:
                raise ValueError(f"{name} must be a number, got {getattr(self, name)!r}")
        if type(self.signed) is not bool:
            raise ValueError(f"signed must be true or false, got {self.signed!r}")
        if not 0 <= self.min_probability < 1:
            raise ValueError(f"min_probability must lie in 0..1, 1 excluded, got {self.min_probability}")
        if self.rank_by == "mean" and self.min_cramers_v > 0:
            raise ValueError("min_cramers_v is of frequencies: it needs rank_by=frequency")
        _ = self.scorer

    @property
    def scorer(self) -> MomentScorer:
        """Makes scores of attributions."""
        if self.rank_by == "mean":
            return MeanAttribution()
        across = self.share_scope == "model"
        return Frequency(self.share, across, self.signed, self.test, self.min_cramers_v)

    @property
    @abstractmethod
    def along(self) -> AttributionPath:
        """How attributions are computed."""

    def completeness(self) -> Completeness | None:
        """What checks that attributions sum to the change of the target, where they should."""
        return None


def check_whole(name: str, value: object) -> None:
    """Refuse what is not a whole number from 1 on.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number and at least 1, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Attribution):
    """Integrated gradients of the prediction of words (Sundararajan et al. 2017; of neurons Dai et al. 2022).

    ``path`` scales one layer at a time, or all jointly; the integral takes ``steps`` evaluations by ``rule``; of a
    relative completeness residual above ``residual_warning`` the log warns. Selection by frequency is that of
    arXiv:2511.06519.
    """

    path: Literal["layer", "joint"] = "layer"
    steps: int = 20
    rule: Rule = "gauss_legendre"
    residual_warning: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("steps", self.steps)
        if type(self.residual_warning) not in {int, float} or self.residual_warning <= 0:
            raise ValueError(f"residual_warning must be above 0, got {self.residual_warning}")
        if self.path not in {"layer", "joint"}:
            raise ValueError(f"path must be layer or joint, got {self.path!r}")
        _ = self.along

    @property
    def along(self) -> AttributionPath:
        """The path that is integrated over."""
        quadrature = Quadrature(self.rule, self.steps)
        return LayerPath(quadrature) if self.path == "layer" else JointPath(quadrature)

    def completeness(self) -> Completeness:
        """What checks that attributions sum to the change of the target."""
        return Completeness(joint=self.along.joint, warn_above=self.residual_warning)


@dataclass(frozen=True, kw_only=True)
class GradientXActivation(Attribution):
    """Gradient of the prediction of words, times activation minus baseline: one step instead of an integral."""

    @property
    def along(self) -> AttributionPath:
        """The point where the gradient is taken."""
        return GradientPath()
