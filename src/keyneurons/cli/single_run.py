"""The commands that read single finished runs, and ``claims``, which reads several."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.cli.arguments import port, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

RUN = "MLflow id of the run or its folder under outputs/"
OVERRIDES = "overrides of the configuration, as for a run: tracking.uri=..."


def add_parsers(commands: _SubParsersAction[Any]) -> None:
    """Add the parsers of these commands."""
    inspect = commands.add_parser(
        "inspect",
        help="show the activations of single neurons",
        description="Write an HTML page on single neurons of a run.",
    )
    inspect.add_argument("run", help=RUN)
    inspect.add_argument("overrides", nargs="*", default=[], help=OVERRIDES)
    inspect.add_argument("--tag", help="tag whose key neurons are shown: NOUN")
    inspect.add_argument("--neuron", help="a single neuron instead of a tag: mlp.8.1051")
    inspect.set_defaults(function=_inspect)

    hypotheses = commands.add_parser(
        "hypotheses",
        help="tabulate the effects and predicted deficits of a run",
        description="Tabulate the effects of a run's lesions and the deficits that they predict, as CSV and Markdown.",
    )
    hypotheses.add_argument("run", help=RUN)
    hypotheses.add_argument("overrides", nargs="*", default=[], help="tracking.uri=...")
    hypotheses.set_defaults(function=_hypotheses)

    claims = commands.add_parser(
        "claims",
        help="put published claims beside what runs measured",
        description="Write a page that puts published claims beside what runs of one model and treebank measured.",
        usage="keyneurons claims [-h] RUN [RUN ...] [tracking.uri=...]",
    )
    claims.add_argument(
        "overrides", nargs="+", metavar="RUN", help="MLflow ids of runs or sweeps, or folders of runs under outputs/"
    )
    claims.set_defaults(function=_claims)

    edit = commands.add_parser(
        "edit",
        help="write a copy of the model with edited key neurons",
        description="Write a copy of a run's model in which the key neurons of a tag are scaled or constant.",
    )
    edit.add_argument("run", help=RUN)
    edit.add_argument("overrides", nargs="*", default=[], help=OVERRIDES)
    edit.add_argument("--tag", required=True, help="tag whose key neurons are edited: NOUN")
    change = edit.add_mutually_exclusive_group(required=True)
    change.add_argument("--factor", type=float, help="factor of their activations: 0 for a lesion, 2 to double them")
    change.add_argument("--mean", action="store_true", help="hold them at their mean over the train words")
    edit.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder of the edited model")
    edit.set_defaults(function=_edit)

    explore = commands.add_parser(
        "explore",
        help="lesion neurons on a local page",
        description="Serve a page on 127.0.0.1: read typed text, lesion key neurons, browse neurons.",
        usage="keyneurons explore [-h] [--port PORT] [--no-browser] RUN [RUN ...] [KEY=VALUE ...]",
    )
    explore.add_argument(
        "runs", nargs="+", metavar="RUN", help="MLflow ids or folders under outputs/ of runs of one model"
    )
    explore.add_argument("--port", type=port, default=7860, help="port on 127.0.0.1 (default: %(default)s)")
    explore.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")
    explore.set_defaults(function=_explore)


def _inspect(options: argparse.Namespace) -> None:
    from keyneurons.cli.inspect import run_inspect
    from keyneurons.config.compose import checked

    page, warnings = run_inspect(
        options.run, tag=options.tag, neuron=options.neuron, overrides=options.overrides, compose=checked, out=None
    )
    say("\n".join([*warnings, f"Open {page} in a browser"]))


def _hypotheses(options: argparse.Namespace) -> None:
    from keyneurons.cli.hypotheses import run_hypotheses
    from keyneurons.config.compose import checked

    run_hypotheses(options.run, options.overrides, checked)


def _claims(options: argparse.Namespace) -> None:
    from keyneurons.cli.claims import run_claims
    from keyneurons.config.compose import checked

    run_claims(options.overrides, checked)


def _edit(options: argparse.Namespace) -> None:
    from keyneurons.cli.edit import Request, run_edit
    from keyneurons.config.compose import checked

    factor = None if options.mean else options.factor
    say(run_edit(Request(options.run, options.tag, factor, options.overrides), options.out, checked))


def _explore(options: argparse.Namespace) -> None:
    from keyneurons.cli.explore import run_explore
    from keyneurons.config.compose import checked

    run_explore(options.runs, options.port, browser=not options.no_browser, compose=checked, say=say)
