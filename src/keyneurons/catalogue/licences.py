"""Licences of a publication, of its model and of its dataset; only those that are known."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from keyneurons.artifacts.plain import Strict
from keyneurons.config.schema import Config
from keyneurons.data.treebank_table import ud_treebanks
from keyneurons.models.packages import PACKAGES

NOT_STATED = "not stated"
STARTER = "Apache-2.0"


def check_licence(licence: str) -> str:
    """Reject text that is not the identifier of a licence.

    Raises:
        ValueError: if it is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}", licence):
        raise ValueError(
            f"a licence is an identifier of letters, digits and .+-, such as CC-BY-4.0 or Apache-2.0, got {licence!r}"
        )
    return licence


Licence = Annotated[str, AfterValidator(check_licence)] | None


class Licences(Strict):
    """Identifiers (SPDX) of the licences of the published files, the model and the dataset."""

    sets: Licence = None
    model: Licence = None
    dataset: Licence = None


def licences_of(config: Config, *, sets: str | None, model: str | None, dataset: str | None) -> Licences:
    """The licences that the user states, else those that are known for the model and the dataset.

    Args:
        config: the configuration of the run.
        sets: licence of the published files.
        model: licence of the model.
        dataset: licence of the dataset.
    """
    stated = {"sets": sets, "model": model, "dataset": dataset}
    for licence in filter(None, stated.values()):
        check_licence(licence)
    return Licences(
        sets=sets,
        model=model or _of_model(config),
        dataset=dataset or _of_dataset(config),
    )


def _of_model(config: Config) -> str | None:
    """The licence of the model, if it is known."""
    return PACKAGES[config.model.package].licence_id if config.model.source == "package" else None


def _of_dataset(config: Config) -> str | None:
    """The licence of the dataset, if it is known and has an identifier."""
    if config.dataset.source == "starter":
        return STARTER
    licence = ud_treebanks()[config.dataset.treebank].licence if config.dataset.source == "ud" else None
    return licence.replace(" ", "-") if licence and re.fullmatch(r"(CC|LGPL)[\w .-]{0,20}", licence) else None
