"""What a configuration may say: one frozen model, checked before anything is loaded. The defaults live in ``conf/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from keyneurons.activations.alignment import Pooling, ReadAt
from keyneurons.activations.settings import KeptDtype
from keyneurons.addresses import check_no_secrets, masked, masked_address
from keyneurons.config.values import (
    Caps,
    Float,
    Fractions,
    Given,
    Int,
    Layer,
    NonNegativeFloat,
    NonNegativeInt,
    OneOf,
    PositiveFloat,
    PositiveInt,
    RunId,
    Share,
    absolute_database,
    device_name,
    one_line,
    quoted,
    text_only,
)
from keyneurons.lesion.modes import MODES
from keyneurons.metric_names import shortened
from keyneurons.models.families import MODULES
from keyneurons.models.language_model import Dtype
from keyneurons.pipeline.lesions.control_sets import CONTROL_FAMILIES
from keyneurons.pipeline.lesions.plan import Where
from keyneurons.records import Permuted, Scope, Sign, Site, Threshold


class Section(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Component(BaseModel):
    """A behaviour that can be swapped: ``_target_`` and its arguments, which its own signature checks."""

    model_config = ConfigDict(extra="allow", frozen=True)
    target: str = Field(alias="_target_")


class Dataset(Section):
    """What every dataset can be asked for."""

    tag_column: str
    tags: Annotated[tuple[str, ...] | None, BeforeValidator(text_only)]
    min_words_per_tag: PositiveInt
    max_sentences: Caps
    max_words: Caps
    drop_duplicates: bool
    unreadable_words: Literal["error", "drop"]


class StarterDataset(Dataset):
    """The treebank inside the package."""

    kind: Literal["starter"]


class EWTDataset(Dataset):
    """UD English EWT."""

    kind: Literal["ud_english_ewt"]
    folder: Path | None


class ConlluDataset(Dataset):
    """Any CoNLL-U files."""

    kind: Literal["conllu"]
    id: Annotated[str, one_line(500)]
    train: Path | None
    dev: Path | None
    test: Path | None
    file: Path | None
    fractions: Fractions


class TextDataset(Dataset):
    """Plain text, tagged by Stanza."""

    kind: Literal["text"]
    id: Annotated[str, one_line(500)]
    path: Path
    language: str
    stanza_folder: Path | None
    fractions: Fractions


class Model(Section):
    """What every model can be asked for."""

    bos: str | None
    dtype: Dtype
    device: Annotated[str, AfterValidator(device_name)]
    device_map: str | None
    random_weights: bool
    modules: Mapping[Annotated[str, OneOf(MODULES)], str] | None


class PackagedModel(Model):
    """The default model."""

    source: Literal["package"]


class HubModel(Model):
    """A model of the Hugging Face hub."""

    source: Literal["hub"]
    id: str
    revision: str


class LocalModel(Model):
    """A model in a folder."""

    source: Literal["local"]
    folder: Path


class Probe(Section):
    """How probes are trained."""

    optimizer: Component
    batch_size: PositiveInt
    patience: PositiveInt
    inverse_penalty: PositiveFloat


class Trainer(Component):
    """A Lightning trainer; its signature knows its other arguments."""

    max_epochs: PositiveInt


class Controls(Section):
    """What key neurons are measured against."""

    random_sets: Annotated[Int, Field(ge=2)]
    own_random_sets: PositiveInt
    all_neurons: bool


class Reliability(Section):
    """Which checks of a ranking are made."""

    halves: NonNegativeInt
    bootstraps: NonNegativeInt
    confounds: bool
    redundancy: bool


class LayerByLayer(Section):
    """What is measured in every layer by itself."""

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
    """What is done to key neurons inside the running model, and against what it is held."""

    mode: Annotated[str, OneOf(tuple(MODES))]
    factor: Float
    to: str | None
    where: Where
    shares: Annotated[tuple[Annotated[Float, Field(gt=0, le=1)], ...], Field(min_length=1)]
    families: Annotated[tuple[Annotated[str, OneOf(tuple(CONTROL_FAMILIES))], ...], Field(min_length=1)]
    sets: Annotated[Int, Field(ge=2)]
    split: Literal["dev", "test"]
    sentences: PositiveInt
    bootstraps: PositiveInt
    permutations: PositiveInt
    later_layers: tuple[int, ...]
    tag_mass: bool
    pairs: Literal["packaged"] | Path | None
    prompts: Path | None
    new_tokens: PositiveInt
    temperature: NonNegativeFloat
    neurons: RunId | Path | None


class Activations(Section):
    """How activations are read, kept and scored."""

    store: bool
    batch_tokens: PositiveInt
    dtype: KeptDtype
    memory_mb: PositiveInt


class Tracking(Section):
    """Where MLflow keeps its runs."""

    uri: Annotated[str, AfterValidator(absolute_database)]
    artifacts: Annotated[Path, Given, AfterValidator(Path.absolute)] | None
    experiment: Annotated[str, one_line(256)]


class Config(Section):
    """One run, completely."""

    model: Annotated[PackagedModel | HubModel | LocalModel, Field(discriminator="source")]
    dataset: Annotated[StarterDataset | EWTDataset | ConlluDataset | TextDataset, Field(discriminator="kind")]
    selection: Component
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
    threshold: Threshold
    alpha: Share
    permutations: PositiveInt
    permute: Permuted
    split: Literal["sentences", "unseen_words"]
    unseen_share: Share
    reliability: Reliability
    controls: Controls
    layer_by_layer: LayerByLayer
    lesion: Lesion | None = None
    activations: Activations
    seed: NonNegativeInt
    cache: Annotated[Path, Given]

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, plain: Any) -> Any:
        check_no_secrets(plain)
        return plain


def validate(composed: DictConfig) -> Config:
    """Check a composed configuration.

    Args:
        composed: what Hydra composed.

    Returns:
        The checked configuration.

    Raises:
        ValueError: something is missing, unknown or out of range; one line names each key and what is legal.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} has no default; give it: {error.full_key}=...") from None
    return validate_plain(plain)


def validate_plain(plain: Any) -> Config:
    """Check a configuration in plain values, such as one that was read from a file.

    Raises:
        ValueError: something is missing, unknown or out of range; one line names each key and what is legal.
    """
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(dict(e)) for e in error.errors())) from None


def _explain(error: dict[str, Any]) -> str:
    variants = {"package", "hub", "local", "starter", "ud_english_ewt", "conllu", "text"}
    key = ".".join(str(part) for i, part in enumerate(error["loc"]) if i == 0 or part not in variants)
    message: str = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if error["type"] == "tuple_type":
        message = "should be a list, such as [A,B]"
    if not key:
        return message
    if error["type"] == "missing":
        return f"{key}: is missing, and has no default"
    if error["type"] == "string_type" and isinstance(error["input"], int | float | None):
        message = f'should be text, so quote it as it is meant: "{key}={quoted(error["input"])}"'
    given = masked(repr(error["input"]))
    if isinstance(error["input"], str) and key == "tracking.uri":
        given = repr(masked_address(error["input"]))
    return f"{key}: {message}, got {shortened(given, 200)}"
