"""The command ``agreement``: compares selection methods on the same activations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from keyneurons.artifacts.run_facts import keep_dataset_facts
from keyneurons.build.experiment import build_experiment
from keyneurons.build.figures import build_figures
from keyneurons.config.compose import checked_with_choices
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.metric_names import LONGEST_NAME, shortened
from keyneurons.pipeline.method_agreement import MethodAgreement, compare_methods
from keyneurons.report.run.agreement import agreement_rows, agreement_title, write_agreement
from keyneurons.report.run.console import show_wide
from keyneurons.runs.refused import removed_if_refused
from keyneurons.runs.tracked import Heading, how_to_send, tracked
from keyneurons.terminal import terminal

SELECTION = re.compile(r"selection=\[?([\w,\s]+)\]?")


def methods_in(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the overrides into the methods of ``selection=[one,other]`` and the rest.

    Raises:
        ValueError: if fewer than two distinct methods are given.
    """
    matches = [match for override in overrides if (match := SELECTION.fullmatch(override))]
    methods = [name.strip() for match in matches[-1:] for name in match[1].split(",")]
    if len(matches) != 1 or len(methods) < 2 or len(set(methods)) < len(methods):
        raise ValueError(
            "agreement needs at least two distinct methods: selection=[correlation,l1_probe,...], "
            f"got {', '.join(methods) or 'none'}"
        )
    return methods, [override for override in overrides if not SELECTION.fullmatch(override)]


def run_agreement(overrides: Sequence[str]) -> None:
    """Compare the methods of ``selection=[...]``; write the results to a folder and an MLflow run.

    Args:
        overrides: overrides of the command line.
    """
    methods, rest = methods_in(overrides)
    configs, choices = _composed(methods, rest)
    experiments = {method: build_experiment(each, method) for method, each in configs.items()}
    config, read = configs[methods[0]], experiments[methods[0]].read
    folder = output_folder("agreement")
    basis = "" if config.basis.kind == "neurons" else f" {config.basis.kind}"
    name = shortened(f"{config.site}.{config.layer}{basis} k{config.top_k} agreement of {len(methods)}", LONGEST_NAME)
    heading, written = Heading(name, choices), _config_of_all(configs)
    with removed_if_refused(folder), tracked(heading, config, read, folder, written) as run:
        compared = compare_methods(experiments)
        write_agreement(compared, folder, build_figures(config.report))
        keep_dataset_facts(folder, compared.text.treebank, compared.text.digests)
        logged = run.send(folder)
    console = terminal()
    _show(compared, console)
    console.print(f"Results are in {folder}", soft_wrap=True)
    if not logged:
        console.print(how_to_send(folder, config.tracking.uri), soft_wrap=True)


def _composed(methods: Sequence[str], overrides: Sequence[str]) -> tuple[dict[str, Config], dict[str, str]]:
    """The validated configuration of each method, and the options chosen in the config groups.

    Raises:
        ValueError: if a configuration cannot be composed.
    """
    configs: dict[str, Config] = {}
    choices: dict[str, str] = {}
    for method in methods:
        try:
            configs[method], choices = checked_with_choices([*overrides, f"selection={method}"])
        except Exception as error:
            raise ValueError(f"selection={method}: {' '.join(str(error).split())}") from error
    return configs, choices | {"selection": ",".join(methods)}


def _config_of_all(configs: Mapping[str, Config]) -> dict[str, Any]:
    dumped = {method: config.model_dump(mode="json", by_alias=True) for method, config in configs.items()}
    return next(iter(dumped.values())) | {"selection": {name: each["selection"] for name, each in dumped.items()}}


def _show(compared: MethodAgreement, console: Console) -> None:
    console.print(agreement_title(compared), style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("method", "method", "Jaccard", "by chance", "RBO", "Kendall's tau"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in agreement_rows(compared.agreement):
        table.add_row(*row)
    show_wide(table, console)
    console.print(
        "Means over the tags. RBO: rank-biased overlap (p = .9). Kendall's tau over all neurons.", soft_wrap=True
    )
