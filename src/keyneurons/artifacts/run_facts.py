"""``run.json``: what a run is called and belongs to; ``mlflow_run.json``: where MLflow has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt

from keyneurons.artifacts.plain import Strict, checked, read_json
from keyneurons.atomic_files import write_json
from keyneurons.metric_names import LONGEST_DATASET, LONGEST_NAME, LONGEST_PARAM, LONGEST_TEXT, check_name
from keyneurons.records import Split, Treebank

RUN_FILE = "run.json"
LOGGED_FILE = "mlflow_run.json"
RunId = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]


def _own_tag(name: str) -> str:
    """The name of a tag that a run of ours may have.

    Raises:
        ValueError: MLflow does not take it, or sets it itself.
    """
    if name.startswith("mlflow."):
        raise ValueError("tags that begin with mlflow. are set as a run is sent")
    return check_name(name)


def _group(name: str) -> str:
    check_name(f"choice.{name}")
    return name


TagName = Annotated[str, AfterValidator(_own_tag)]
TagValue = Annotated[str, Field(max_length=LONGEST_TEXT)]
Group = Annotated[str, AfterValidator(_group)]
Option = Annotated[str, Field(max_length=LONGEST_PARAM)]


class Size(Strict):
    """Sentences and words of a split."""

    sentences: NonNegativeInt
    words: NonNegativeInt


class DatasetFacts(Strict):
    """The text of a run."""

    id: Annotated[str, Field(min_length=1, max_length=LONGEST_DATASET)]
    digest: Annotated[str, Field(min_length=1)]
    profile: Mapping[Split, Size]


class RunFacts(Strict):
    """A run: ``choices`` by config group, ``start_time`` in milliseconds, and once they are known the rest."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    parent: RunId | None
    choices: Mapping[Group, Option]
    tags: Mapping[TagName, TagValue]
    start_time: Annotated[NonNegativeInt, Field(lt=2**63)]
    run_id: RunId | None = None
    uri: str | None = None
    dataset: DatasetFacts | None = None


class Logged(Strict):
    """The id that a run has in MLflow."""

    run_id: RunId


def read_run_facts(folder: Path) -> RunFacts:
    """What ``run.json`` of a run's folder says.

    Raises:
        ValueError: it is damaged, or none of this version.
    """
    return checked(RunFacts, read_json(folder / RUN_FILE), folder / RUN_FILE)


def keep_dataset_facts(folder: Path, treebank: Treebank, digest: str, **tags: str) -> None:
    """Write into a run's folder what its dataset was (id, digest and sizes), and more tags."""
    profile = {
        split: {"sentences": len(sentences), "words": treebank.n_words(split)}
        for split, sentences in treebank.splits.items()
    }
    facts = read_json(folder / RUN_FILE)
    facts["tags"] |= {"dataset": treebank.id, **tags}
    write_json(folder / RUN_FILE, {**facts, "dataset": {"id": treebank.id, "digest": digest, "profile": profile}})


def read_logged(folder: Path) -> str | None:
    """The MLflow id under which a run's folder was sent, or None where it was not.

    Raises:
        ValueError: the file that says so is damaged.
    """
    path = folder / LOGGED_FILE
    return checked(Logged, read_json(path), path).run_id if path.exists() else None
