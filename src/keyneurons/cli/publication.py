"""The commands ``publish`` and ``pull``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import _SubParsersAction

LICENCES = ("licence", "model_licence", "dataset_licence")
SWITCHES = {"figures": True, "private": False}
OPTIONS = (*LICENCES, *SWITCHES)
PLACE = "hf://datasets/OWNER/NAME"


def add_parsers(commands: _SubParsersAction[Any]) -> None:
    """Add the parsers of both commands."""
    publish = commands.add_parser(
        "publish",
        help="publish the neuron sets of a run",
        description="Publish the neuron sets of a run with a card, metrics, figures and digests.",
        usage=f"keyneurons publish [-h] RUN DEST [{'=... '.join(LICENCES)}=... figures=false private=true]",
    )
    publish.add_argument("run", help="MLflow id of the run or its folder under outputs/")
    publish.add_argument("destination", metavar="DEST", help=f"new folder, or {PLACE}[@BRANCH][/FOLDER]")
    publish.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="licence=CC-BY-4.0 (of the published files), model_licence=..., dataset_licence=..., figures=false, "
        "private=true (for a new repository), tracking.uri=...",
    )
    publish.set_defaults(function=_publish)

    pull = commands.add_parser(
        "pull",
        help="fetch and verify published neuron sets",
        description="Copy a publication into a new folder after verifying digests and formats.",
    )
    pull.add_argument("source", metavar="SOURCE", help=f"folder, or {PLACE}[@REVISION][/FOLDER]")
    pull.add_argument("destination", nargs="?", metavar="DEST", help="new folder (default: the last name of SOURCE)")
    pull.set_defaults(function=_pull)


def _publish(options: argparse.Namespace) -> None:
    from keyneurons.catalogue.licences import licences_of
    from keyneurons.catalogue.publish import publish
    from keyneurons.cli.commands import store_of
    from keyneurons.runs.folders import find_run

    own, rest = _split(options.overrides)
    switches = {name: _switch(name, own[name]) if name in own else default for name, default in SWITCHES.items()}
    run = find_run(options.run, store_of(rest))
    sets, model, dataset = (own.get(name) for name in LICENCES)
    licences = licences_of(run.config(), sets=sets, model=model, dataset=dataset)
    done = publish(run, options.destination, licences, **switches)
    sys.stdout.write(f"{done}\n")


def _pull(options: argparse.Namespace) -> None:
    from keyneurons.catalogue.pull import pull

    folder = pull(options.source, options.destination)
    sys.stdout.write(f"verified and copied to {folder}; its README.md says how to use it\n")


def _split(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The options of the command, and overrides of the store.

    Raises:
        ValueError: if there is another key.
    """
    pairs = [text.partition("=") for text in overrides]
    rest = [text for text, (name, _, _) in zip(overrides, pairs, strict=True) if name not in OPTIONS]
    if other := [text for text in rest if not text.startswith("tracking")]:
        raise ValueError(f"publish takes {', '.join(f'{name}=' for name in OPTIONS)} and tracking.uri=, got {other[0]}")
    return {name: value for name, _, value in pairs if name in OPTIONS}, rest


def _switch(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value == "true"
