"""The commands that read single finished runs, and ``claims``, which reads several."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.choices import STEERING_FAMILIES
from keyneurons.cli.arguments import factors, port, positive, say, temperature

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

    _add_steer(commands)

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


def _add_steer(commands: _SubParsersAction[Any]) -> None:
    steer = commands.add_parser(
        "steer",
        help="measure texts of a model with scaled key neurons",
        description="Multiply the key neurons of a tag by some factors while the model continues prompts, and measure "
        "the texts beside those of control sets.",
    )
    steer.add_argument("run", help=RUN)
    steer.add_argument("overrides", nargs="*", default=[], help=OVERRIDES)
    steer.add_argument("--tag", required=True, help="tag whose key neurons are scaled: PROPN")
    steer.add_argument(
        "--factor",
        dest="factors",
        type=factors,
        required=True,
        metavar="FACTORS",
        help="factors: 0,1,2,4 (or --factor=-1,0,1)",
    )
    prompts = "default, formal or informal (packaged, English), or a file with one prompt per line"
    steer.add_argument("--prompts", default="default", help=f"{prompts}; %(default)s if missing")
    steer.add_argument("--seeds", type=positive, help="texts of each prompt (default: 2, or 1 at temperature 0)")
    steer.add_argument("--new-tokens", type=positive, default=30, help="tokens of each text (default: %(default)s)")
    steer.add_argument(
        "--temperature", type=temperature, default=0.7, help="0 is greedy decoding (default: %(default)s)"
    )
    steer.add_argument("--sets", type=positive, default=5, help="number of control sets (default: %(default)s)")
    steer.add_argument(
        "--family", choices=STEERING_FAMILIES, default="random", help="family of control sets (default: %(default)s)"
    )
    steer.add_argument(
        "--pairs", default="packaged", help="minimal pairs: packaged (English), a file in BLiMP's format, or none"
    )
    steer.add_argument("--stanza", metavar="LANGUAGE", help="also tag the texts with Stanza's models of a language: en")
    steer.add_argument("--out", type=Path, metavar="FOLDER", help="new folder of the results (default: in outputs/)")
    steer.set_defaults(function=_steer)


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


def _steer(options: argparse.Namespace) -> None:
    from keyneurons.cli.steer import Request, run_steer
    from keyneurons.config.compose import checked

    request = Request(**{each.name: getattr(options, each.name) for each in fields(Request)})
    run_steer(request, options.out, checked)


def _explore(options: argparse.Namespace) -> None:
    from keyneurons.cli.explore import run_explore
    from keyneurons.config.compose import checked

    run_explore(options.runs, options.port, browser=not options.no_browser, compose=checked, say=say)
