"""Selection methods that attribute word predictions of the model to neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal

from keyneurons.attribution.completeness import Completeness
from keyneurons.attribution.gradients import Target
from keyneurons.attribution.integral import Quadrature, Rule
from keyneurons.attribution.paths import AttributionPath, GradientPath, JointPath, LayerPath, RelevancePath
from keyneurons.records import Scope
from keyneurons.selection.methods.frequency import Frequency, FrequencyTest, MeanAttribution
from keyneurons.selection.moment_scorer import MomentScorer

Reference = Literal["zero", "mean"]


@dataclass(frozen=True, kw_only=True)
class Attribution(ABC):
    """Attributes word predictions to neurons; options of the attributed words.

    Args:
        words_per_tag: maximum number of words per tag, drawn at random from train; every tag gets
            the same number.
        min_context: minimum number of words before a word in its sentence.
        min_probability: excludes words to which the model assigns a lower probability.
    """

    words_per_tag: int = 50
    min_context: int = 5
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        for name in ("words_per_tag", "min_context"):
            check_whole(name, getattr(self, name))
        check_number("min_probability", self.min_probability)
        if not 0 <= self.min_probability < 1:
            raise ValueError(f"min_probability must lie in 0..1, 1 excluded, got {self.min_probability}")

    @property
    @abstractmethod
    def target(self) -> Target:
        """The attributed output of the model."""

    @property
    @abstractmethod
    def baseline(self) -> Reference:
        """The reference activation of a neuron."""

    @property
    @abstractmethod
    def scorer(self) -> MomentScorer:
        """The scorer that ranks neurons by their attributions."""

    @property
    @abstractmethod
    def along(self) -> AttributionPath:
        """The path along which attributions are computed."""

    def completeness(self) -> Completeness | None:
        """The check that attributions sum to the change of the target; None if not applicable."""
        return None

    def record(self) -> dict[str, Any]:
        """The kind of the method and its options, for records of a run."""
        return {"kind": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class GradientMethod(Attribution):
    """Attributes by gradients; options of the target and of the ranking of neurons.

    Args:
        target: the probability of the word's first token, or its natural logarithm.
        baseline: the reference activation of a neuron: zero, or its mean over the training words.
        rank_by: how often a neuron is among the strongest of a tag's words, or its mean
            attribution, which ignores the options below.
        share: share of neurons that count as the strongest of a word.
        share_scope: whether the share is of each layer or of all layers read.
        signed: whether the strongest neurons are those with the largest attribution or the largest
            magnitude.
        test: test of the frequencies: Fisher's exact test of one tag against the rest, or
            chi-squared over all tags.
        min_cramers_v: excludes neurons with a smaller Cramer's V between frequency and tag.
    """

    target: Target = "probability"
    baseline: Reference = "zero"
    rank_by: Literal["frequency", "mean"] = "frequency"
    share: float = 0.05
    share_scope: Scope = "layer"
    signed: bool = True
    test: FrequencyTest = "fisher"
    min_cramers_v: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        legal = {
            "target": ("probability", "log_probability"),
            "baseline": ("zero", "mean"),
            "rank_by": ("frequency", "mean"),
            "share_scope": ("layer", "model"),
        }
        for name, values in legal.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be {' or '.join(values)}, got {getattr(self, name)!r}")
        for name in ("share", "min_cramers_v"):
            check_number(name, getattr(self, name))
        if type(self.signed) is not bool:
            raise ValueError(f"signed must be true or false, got {self.signed!r}")
        if self.rank_by == "mean" and self.min_cramers_v > 0:
            raise ValueError("min_cramers_v needs rank_by=frequency")
        _ = self.scorer

    @property
    def scorer(self) -> MomentScorer:
        """The scorer that ranks neurons by their attributions."""
        if self.rank_by == "mean":
            return MeanAttribution()
        across = self.share_scope == "model"
        return Frequency(self.share, across, self.signed, self.test, self.min_cramers_v)


def check_whole(name: str, value: object) -> None:
    """Raise if a value is not a whole number of at least 1.

    Raises:
        ValueError: If the value is not a whole number of at least 1.
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number and at least 1, got {value!r}")


def check_number(name: str, value: object) -> None:
    """Raise if a value is not a number.

    Raises:
        ValueError: If the value is not a number.
    """
    if type(value) not in {int, float}:
        raise ValueError(f"{name} must be a number, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(GradientMethod):
    """Integrated gradients of word predictions (Sundararajan et al. 2017, Dai et al. 2022).

    ``path`` scales one layer at a time or all layers jointly. The integral takes ``steps``
    evaluations by ``rule``. A completeness error above ``residual_warning`` is logged as a warning.
    Selection by frequency follows arXiv:2511.06519.
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
        """The path of integration."""
        quadrature = Quadrature(self.rule, self.steps)
        return LayerPath(quadrature) if self.path == "layer" else JointPath(quadrature)

    def completeness(self) -> Completeness:
        """The check that attributions sum to the change of the target."""
        return Completeness(joint=self.along.joint, warn_above=self.residual_warning)


@dataclass(frozen=True, kw_only=True)
class GradientXActivation(GradientMethod):
    """Gradient of word predictions times activation minus baseline: a single step, no integral."""

    @property
    def along(self) -> AttributionPath:
        """The point at which the gradient is computed."""
        return GradientPath()


@dataclass(frozen=True, kw_only=True)
class RelevancePropagation(GradientMethod):
    """Relevance of neurons for word predictions (RelP, arXiv:2508.21258), in one pass.

    Gradient times activation in a model whose gradients are linear: attention patterns and the
    denominators of norms are constant, an activation function multiplies by the ratio of its output
    and input, and each factor of a gate product receives half of the relevance.
    """

    @property
    def along(self) -> AttributionPath:
        """The point at which relevance is computed."""
        return RelevancePath()
