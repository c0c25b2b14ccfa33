"""``run.json``: name, sweep, tags and dataset of a run; ``mlflow_run.json``: its MLflow id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt

from keyneurons.artifacts.plain import Strict, read_json, validate
from keyneurons.atomic_files import write_json
from keyneurons.data.digests import TreebankDigests
from keyneurons.metric_names import LONGEST_DATASET, LONGEST_NAME, LONGEST_PARAM, LONGEST_TEXT, check_name
from keyneurons.records import Split, Treebank

RUN_FILE = "run.json"
LOGGED_FILE = "mlflow_run.json"
RunId = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]


def _own_tag(name: str) -> str:
    """Check the name of an MLflow tag.

    Raises:
        ValueError: the name is invalid or reserved by MLflow.
    """
    if name.startswith("mlflow."):
        raise ValueError("tags that begin with mlflow. are reserved")
    return check_name(name)


def _group(name: str) -> str:
    check_name(f"choice.{name}")
    return name


TagName = Annotated[str, AfterValidator(_own_tag)]
TagValue = Annotated[str, Field(max_length=LONGEST_TEXT)]
Group = Annotated[str, AfterValidator(_group)]
Option = Annotated[str, Field(max_length=LONGEST_PARAM)]


class SplitFacts(Strict):
    """Sentences and words of a split, and the digest of its tagged text."""

    sentences: NonNegativeInt
    words: NonNegativeInt
    digest: Annotated[str, Field(min_length=1)]


class DatasetFacts(Strict):
    """The text of a run; ``digest`` is that of all splits."""

    id: Annotated[str, Field(min_length=1, max_length=LONGEST_DATASET)]
    digest: Annotated[str, Field(min_length=1)]
    profile: Mapping[Split, SplitFacts]


class RunFacts(Strict):
    """A run: ``choices`` by config group, ``start_time`` in milliseconds since 1970.

    ``run_id``, ``uri`` and ``dataset`` are None until known.
    """

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    parent: RunId | None
    choices: Mapping[Group, Option]
    tags: Mapping[TagName, TagValue]
    start_time: Annotated[NonNegativeInt, Field(lt=2**63)]
    run_id: RunId | None = None
    uri: str | None = None
    dataset: DatasetFacts | None = None


class Logged(Strict):
    """The MLflow id of a run."""

    run_id: RunId


def read_run_facts(folder: Path) -> RunFacts:
    """Read the ``run.json`` of a run's folder.

    Raises:
        ValueError: the file is damaged or of another version.
    """
    return validate(RunFacts, read_json(folder / RUN_FILE), folder / RUN_FILE)


def keep_dataset_facts(folder: Path, treebank: Treebank, digests: TreebankDigests, **tags: str) -> None:
    """Write into a run's folder what its dataset was (id, digests and sizes), and more tags."""
    profile = {
        split: {"sentences": len(sentences), "words": treebank.n_words(split), "digest": digests.splits[split]}
        for split, sentences in treebank.splits.items()
    }
    facts = read_json(folder / RUN_FILE)
    facts["tags"] |= {"dataset": treebank.id, **tags}
    write_json(
        folder / RUN_FILE, {**facts, "dataset": {"id": treebank.id, "digest": digests.whole, "profile": profile}}
    )


def read_logged(folder: Path) -> str | None:
    """The MLflow id of a run's folder, or None if the run was not sent to MLflow.

    Raises:
        ValueError: ``mlflow_run.json`` is damaged.
    """
    path = folder / LOGGED_FILE
    return validate(Logged, read_json(path), path).run_id if path.exists() else None
