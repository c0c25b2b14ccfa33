"""All commands but runs and sweeps: their parsers, and the functions of most."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from keyneurons.cli import publication, single_run
from keyneurons.cli.arguments import days, port, say

if TYPE_CHECKING:
    from keyneurons.config.schema import Config
    from keyneurons.tracking import Store


def run(arguments: Sequence[str]) -> None:
    """Run one command.

    Args:
        arguments: the name of the command and its arguments.
    """
    name, *rest = arguments
    options = _parsers()[name].parse_intermixed_args(rest)
    if getattr(options, "config_dir", None) is not None:
        from keyneurons.config.overrides import search_path

        options.overrides = [search_path(options.config_dir), *options.overrides]
    options.function(options)


class _Parser(argparse.ArgumentParser):
    """Raises ValueError instead of exiting, so that all errors are reported in the same way."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} ({' '.join(self.format_usage().split())})")


def _parsers() -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of all commands, by name."""
    commands = _Parser(prog="keyneurons").add_subparsers(required=True)
    overrides = "overrides of the configuration, as for a run"

    plan = commands.add_parser(
        "plan",
        help="estimate the cost of a run",
        description="Estimate the disk space, memory, operations and time of a run.",
    )
    plan.add_argument("overrides", nargs="*", default=[], help=f"{overrides}: model=llama3_8b layer=all")
    _add_config_dir(plan)
    plan.set_defaults(function=_plan)

    fetch = commands.add_parser("fetch", help="download a model", description="Download the files of a model.")
    fetch.add_argument("overrides", nargs="*", default=[], help=f"{overrides}: model=pythia_160m")
    fetch.set_defaults(function=_fetch)

    extract = commands.add_parser(
        "extract",
        help="fill the cache before a sweep",
        description="Extract the activations of a run or of all jobs of a sweep into the cache.",
    )
    extract.add_argument(
        "overrides", nargs="*", default=[], help=f"{overrides} or a sweep: layer=4,8,16 site=mlp,residual"
    )
    _add_config_dir(extract)
    extract.set_defaults(function=_extract)

    agreement = commands.add_parser(
        "agreement", help="compare selection methods", description="Compare selection methods on the same activations."
    )
    agreement.add_argument("overrides", nargs="+", help=f"selection=[correlation,l1_probe,...], and {overrides}")
    _add_config_dir(agreement)
    agreement.set_defaults(function=_agreement)

    compare = commands.add_parser(
        "compare",
        help="compare finished runs",
        description="Compare some runs, or the finished runs of a sweep, of an experiment, or those that match a "
        "filter.",
        usage="keyneurons compare [-h] (RUN RUN [RUN ...] | sweep=ID | experiment=NAME | filter=...) [KEY=VALUE ...]",
    )
    compare.add_argument(
        "overrides",
        nargs="+",
        metavar="RUN RUN [RUN ...] | sweep=ID | experiment=NAME | filter=...",
        help="two or more runs (run ids, folders under outputs/ or key_neurons.json files), or many runs at once; "
        "share=... (of the runs that select a neuron of the consensus), transfer=true (of probes between languages), "
        "tracking.uri=...",
    )
    compare.set_defaults(function=_compare)

    single_run.add_parsers(commands)
    publication.add_parsers(commands)

    treebanks = commands.add_parser(
        "treebanks",
        help="list the treebanks of Universal Dependencies",
        description="List the treebanks that dataset=ud dataset.treebank=NAME takes.",
    )
    treebanks.add_argument("--language", help="name or code of a language: French or fr")
    treebanks.set_defaults(function=_treebanks, overrides=[])

    cache = commands.add_parser(
        "cache",
        help="list or prune the cache",
        description="List or prune cached activations and results of probes.",
    )
    cache.add_argument("action", nargs="?", choices=("list", "prune"), default="list")
    cache.add_argument("--older-than", type=days, metavar="DAYS", help="prune entries unused for DAYS days")
    cache.set_defaults(function=_cache, overrides=[])

    send = commands.add_parser("log", help="send finished runs to MLflow", description="Send finished runs to MLflow.")
    send.add_argument("folder", type=Path, nargs="+", help="folder of a run under outputs/")
    send.add_argument("--set", dest="overrides", nargs="*", default=[], help=f"{overrides}: tracking.uri=...")
    send.set_defaults(function=_log)

    ui = commands.add_parser(
        "ui", help="serve the MLflow UI", description="Serve the MLflow UI on 127.0.0.1 and open it in a browser."
    )
    ui.add_argument("overrides", nargs="*", default=[], help=f"{overrides}: tracking.uri=...")
    ui.add_argument("--port", type=port, help="port on 127.0.0.1 (default: 5000, or the next free one)")
    ui.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    ui.set_defaults(function=_ui)
    return commands.choices


def _add_config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-dir", "-cd", type=Path, metavar="FOLDER", help="folder of additional options")


def _config(overrides: Sequence[str]) -> Config:
    """The validated configuration with these overrides."""
    from keyneurons.config.compose import checked

    return checked(overrides)


def store_of(overrides: Sequence[str]) -> Store:
    """The MLflow store of the configuration with these overrides."""
    from keyneurons.build.tracking import build_store

    return build_store(_config(overrides).tracking)


def _plan(options: argparse.Namespace) -> None:
    from keyneurons.plan import run_plan

    run_plan(options.overrides, _config)


def _fetch(options: argparse.Namespace) -> None:
    from keyneurons.build.reader import build_model_source

    config = _config(options.overrides)
    files = build_model_source(config.model, config.cache.expanduser()).fetch()
    say(f"{files.id} ({files.revision}) is in {files.path}")


def _agreement(options: argparse.Namespace) -> None:
    from keyneurons.cli.agreement import run_agreement

    run_agreement(options.overrides)


def _extract(options: argparse.Namespace) -> None:
    from keyneurons.cli.extract import extract_for

    for line in extract_for(options.overrides):
        say(line)


def _compare(options: argparse.Namespace) -> None:
    from keyneurons.cli.compare import run_compare

    run_compare(options.overrides, _config)


def _treebanks(options: argparse.Namespace) -> None:
    from keyneurons.cli.treebanks import show_treebanks

    show_treebanks(options.language)


def _cache(options: argparse.Namespace) -> None:
    from keyneurons.cli.cache import list_cache, prune_cache

    if options.action == "list":
        lines = list_cache(_config([]))
    elif options.older_than is None:
        raise ValueError("cache prune needs --older-than DAYS (0 removes everything)")
    else:
        lines = prune_cache(_config([]), options.older_than)
    say("\n".join(lines))


def _log(options: argparse.Namespace) -> None:
    from keyneurons.runs.finished import log_finished

    store = store_of(options.overrides)
    for folder in options.folder:
        say(f"sent {folder} to {store.uri} as run {log_finished(store, folder)}")


def _ui(options: argparse.Namespace) -> None:
    from keyneurons.cli.ui import serve

    serve(store_of(options.overrides), options.port, browser=not options.no_browser, say=say)
