"""The command ``hypotheses``: tabulates effects and predicted deficits of a finished run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[Any]) -> None:
    """Add the parser of the command."""
    hypotheses = commands.add_parser(
        "hypotheses",
        help="tabulate the effects and predicted deficits of a run",
        description="Tabulate the effects of a run's lesions and the deficits that they predict, as CSV and Markdown.",
    )
    hypotheses.add_argument("run", help="MLflow id of the run or its folder under outputs/")
    hypotheses.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="tracking.uri=...")
    hypotheses.set_defaults(function=_hypotheses)


def _hypotheses(options: argparse.Namespace) -> None:
    """Write the hypotheses of a run to a folder and print them.

    Raises:
        ValueError: there is no such run, its files are damaged, or another key is overridden.
    """
    from rich.text import Text

    from keyneurons.cli.commands import store_of
    from keyneurons.config.paths import output_folder
    from keyneurons.report.hypotheses.tables import show_hypotheses, write_hypotheses
    from keyneurons.runs.folders import find_run
    from keyneurons.runs.hypotheses import hypotheses_of_run
    from keyneurons.terminal import terminal

    if other := [override for override in options.overrides if not override.startswith("tracking")]:
        raise ValueError(f"hypotheses takes only a run and tracking.uri=, got {other[0]}")
    hypotheses = hypotheses_of_run(find_run(options.run, store_of(options.overrides)))
    folder, console = output_folder("hypotheses"), terminal()
    write_hypotheses(hypotheses, folder)
    show_hypotheses(hypotheses, console)
    console.print(Text(f"Results are in {folder}"), soft_wrap=True)
