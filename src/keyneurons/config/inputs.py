"""Schema of the inputs: one section for each source of the treebank and of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from keyneurons.choices import Dtype, ModelPackage, ModuleName
from keyneurons.config.values import (
    Caps,
    Fractions,
    NonNegativeInt,
    PositiveInt,
    check_tags,
    device_name,
    one_line,
    tag_column,
    web_address,
    weights_seed,
)
from keyneurons.data.treebank_table import check_treebank


class Section(BaseModel):
    """A frozen section that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(Section):
    """Keys of every dataset."""

    tags: Annotated[tuple[str, ...] | None, BeforeValidator(check_tags)]
    tag_column: Annotated[str, AfterValidator(tag_column)]
    min_words_per_tag: PositiveInt
    balance: PositiveInt | None
    max_sentences: Caps
    max_words: Caps
    drop_duplicates: bool
    unreadable_words: Literal["error", "drop"]
    overfit: bool


class StarterDataset(Dataset):
    """The packaged starter treebank."""

    source: Literal["starter"]


class UDDataset(Dataset):
    """A treebank of Universal Dependencies."""

    source: Literal["ud"]
    treebank: Annotated[str, AfterValidator(check_treebank)]
    release: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    folder: Path | None
    test: Annotated[str, AfterValidator(check_treebank)] | None
    test_folder: Path | None
    mirror: Annotated[str, AfterValidator(web_address)]
    fractions: Fractions


class ConlluDataset(Dataset):
    """CoNLL-U files."""

    source: Literal["conllu"]
    id: Annotated[str, one_line(500)]
    train: Path | None
    dev: Path | None
    test: Path | None
    file: Path | None
    fractions: Fractions


class TextDataset(Dataset):
    """Plain text, tagged by Stanza."""

    source: Literal["text"]
    id: Annotated[str, one_line(500)]
    path: Path
    language: str
    stanza_folder: Path | None
    fractions: Fractions


class Model(Section):
    """Keys of every model."""

    bos: str | None
    dtype: Dtype
    device: Annotated[str, AfterValidator(device_name)]
    device_map: str | None
    random_weights: Annotated[NonNegativeInt | None, BeforeValidator(weights_seed)]
    modules: Mapping[ModuleName, str] | None


class PackagedModel(Model):
    """A model from the Python package index."""

    source: Literal["package"]
    package: ModelPackage


class HubModel(Model):
    """A model from the Hugging Face hub."""

    source: Literal["hub"]
    id: str
    revision: str


class LocalModel(Model):
    """A model in a folder."""

    source: Literal["local"]
    folder: Path


class Basis(Section):
    """Keys of every basis."""


class NeuronsBasis(Basis):
    """The neurons themselves."""

    kind: Literal["neurons"]


class RotationBasis(Basis):
    """A random rotation of each layer."""

    kind: Literal["rotation"]
    seed: NonNegativeInt


class PCABasis(Basis):
    """Principal components."""

    kind: Literal["pca"]
    file: Path | None


class SAEBasis(Basis):
    """Latents of a sparse autoencoder."""

    kind: Literal["sae"]
    file: Path
    id: str | None
    revision: str
    any_model: bool


class TranscoderBasis(Basis):
    """Latents of a transcoder."""

    kind: Literal["transcoder"]
    file: Path
    id: str | None
    revision: str
    any_model: bool
    gain: bool | None
