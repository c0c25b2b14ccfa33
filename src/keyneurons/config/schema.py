"""Schema of configurations: one frozen model, checked before anything is loaded.

The defaults are in ``conf/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from keyneurons.addresses import check_no_secrets
from keyneurons.choices import (
    KeptDtype,
    LesionFamily,
    LesionMode,
    LesionPlace,
    Permuted,
    Pooling,
    ReadAt,
    Scope,
    Sign,
    Site,
    Store,
    ThresholdKind,
)
from keyneurons.config.inputs import (
    ConlluDataset,
    HubModel,
    LocalModel,
    NeuronsBasis,
    PackagedModel,
    PCABasis,
    RotationBasis,
    SAEBasis,
    Section,
    StarterDataset,
    TextDataset,
    TranscoderBasis,
    UDDataset,
)
from keyneurons.config.outputs import Report, Tracking
from keyneurons.config.values import (
    BatchTokens,
    Float,
    Int,
    Layer,
    NonEmptyPath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    RunId,
    Share,
    TagChoice,
)


class Component(BaseModel):
    """An exchangeable component: ``_target_`` and arguments, which its signature checks."""

    model_config = ConfigDict(extra="allow", frozen=True)
    target: str = Field(alias="_target_")


class Probe(Section):
    """Settings of probe training."""

    optimizer: Component
    batch_size: PositiveInt
    patience: PositiveInt
    C: PositiveFloat


class Trainer(Component):
    """A Lightning trainer; its signature checks the other arguments."""

    max_epochs: PositiveInt

    @model_validator(mode="after")
    def _one_device(self) -> Trainer:
        if {"devices", "num_nodes"} & (self.model_extra or {}).keys():
            raise ValueError("a probe is trained on one device; activations.devices sets those that read the text")
        return self


class PerTag(Section):
    """Controls of the key neurons of each tag."""

    random_sets: PositiveInt


def _of_a_curve(sizes: int) -> int:
    if sizes == 1:
        raise ValueError("should be 0 (off) or at least 2")
    return sizes


class Worth(Section):
    """Probes on random and other sets of several sizes."""

    sizes: Annotated[NonNegativeInt, AfterValidator(_of_a_curve)]
    sets: PositiveInt


class Intervals(Section):
    """Bootstrap over the test sentences."""

    resamples: Annotated[int, Field(ge=100)]


class Threshold(Section):
    """Significance test of the key neurons."""

    kind: ThresholdKind
    alpha: Share
    permutations: PositiveInt
    permute: Permuted


class Reliability(Section):
    """Checks of the reliability of a ranking."""

    halves: NonNegativeInt
    bootstraps: NonNegativeInt
    confounds: bool
    confound_share: Share
    redundancy: bool


class LayerByLayer(Section):
    """Measurements of each layer."""

    read_at: tuple[ReadAt, ...]
    concepts: bool
    concept_words: Annotated[Int, Field(ge=2)]
    concept_draws: PositiveInt

    @model_validator(mode="after")
    def _somewhere(self) -> LayerByLayer:
        if self.concepts and not self.read_at:
            raise ValueError("concepts=true needs layer_by_layer.read_at=[word], [prediction] or both")
        return self


class Lesion(Section):
    """Lesions (ablations) of key neurons in the running model, and their control sets."""

    mode: LesionMode
    factor: Float
    to: str | None
    tags: TagChoice
    where: LesionPlace
    shares: Annotated[tuple[Annotated[Float, Field(gt=0, le=1)], ...], Field(min_length=1)]
    families: Annotated[tuple[LesionFamily, ...], Field(min_length=1)]
    sets: Annotated[Int, Field(ge=2)]
    further_sets: NonNegativeInt
    exceedances: PositiveInt
    split: Literal["dev", "test"]
    sentences: PositiveInt
    bootstraps: PositiveInt
    permutations: PositiveInt
    later_layers: tuple[int, ...]
    tag_mass: bool
    pairs: Literal["packaged"] | Path | None
    pair_languages: Annotated[tuple[str, ...], Field(min_length=1)] | None
    prompts: Path | None
    new_tokens: PositiveInt
    temperature: NonNegativeFloat
    neurons: RunId | Path | None


class Activations(Section):
    """Extraction, storage and scoring of activations."""

    store: Store
    batch_tokens: BatchTokens
    dtype: KeptDtype
    memory_mb: PositiveInt
    devices: Int | str
    num_nodes: PositiveInt


class Config(Section):
    """The complete configuration of a run."""

    model: Annotated[PackagedModel | HubModel | LocalModel, Field(discriminator="source")]
    dataset: Annotated[StarterDataset | UDDataset | ConlluDataset | TextDataset, Field(discriminator="source")]
    basis: Annotated[NeuronsBasis | RotationBasis | PCABasis | SAEBasis | TranscoderBasis, Field(discriminator="kind")]
    selection: Component
    control: Mapping[str, Component] = {}
    probe: Probe
    trainer: Trainer
    tracking: Tracking
    site: Site
    layer: Layer
    read_at: ReadAt
    pooling: Pooling
    top_k: PositiveInt
    scope: Scope
    sign: Sign
    mass: Annotated[Float, Field(ge=0, le=1)] | None
    sample_words: PositiveInt | None
    threshold: Threshold
    split: Literal["sentences", "unseen_words"]
    unseen_share: Share
    reliability: Reliability
    per_tag: PerTag
    intervals: Intervals
    worth: Worth
    layer_by_layer: LayerByLayer
    lesion: Lesion | None = None
    activations: Activations
    report: Report
    seed: NonNegativeInt
    cache: Annotated[Path, NonEmptyPath]
    _derived: tuple[str, ...] = PrivateAttr(())

    @property
    def derived(self) -> tuple[str, ...]:
        """Keys whose values followed from other keys when this was composed."""
        return self._derived

    def with_derived(self, keys: Sequence[str]) -> Config:
        """The same configuration with its derived keys."""
        config = self.model_copy()
        config._derived = tuple(keys)
        return config

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, plain: Any) -> Any:
        check_no_secrets(plain)
        return plain
