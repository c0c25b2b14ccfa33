"""The command that compares selection methods on the same activations."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from keyneurons.artifacts.plain import write_yaml
from keyneurons.atomic_files import write_text
from keyneurons.build.experiment import build_experiment
from keyneurons.build.tracking import build_store
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.metric_names import LONGEST_NAME, shortened
from keyneurons.pipeline.method_agreement import MethodAgreement, compare_methods
from keyneurons.report.run.agreement import agreement_rows, agreement_title, write_agreement
from keyneurons.report.run.console import show_wide
from keyneurons.runs.job import early_tags, keep_dataset_facts, seed_everything
from keyneurons.terminal import terminal
from keyneurons.tracking import open_run

SELECTION = re.compile(r"selection=\[?([\w,\s]+)\]?")


def methods_in(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The methods of ``selection=[one,other]``, and all other overrides.

    Raises:
        ValueError: if there are not at least two different ones.
    """
    given = [found for override in overrides if (found := SELECTION.fullmatch(override))]
    methods = [name.strip() for found in given[-1:] for name in found[1].split(",")]
    if len(given) != 1 or len(methods) < 2 or len(set(methods)) < len(methods):
        raise ValueError(
            f"agreement compares different methods: selection=[correlation,l1_probe,...], got {methods or 'none'}"
        )
    return methods, [override for override in overrides if not SELECTION.fullmatch(override)]


def run_agreement(overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> None:
    """Compare the methods of ``selection=[...]`` and keep what is found in a folder and an MLflow run.

    Args:
        overrides: the overrides of the command line.
        compose: makes a checked configuration of overrides.
    """
    methods, rest = methods_in(overrides)
    configs = {method: _composed(method, rest, compose) for method in methods}
    config = configs[methods[0]]
    seed_everything(config.seed)
    experiments = {method: build_experiment(each, method) for method, each in configs.items()}
    experiments[methods[0]].read.bos_id()
    folder = output_folder("agreement")
    folder.mkdir(parents=True)
    write_text(folder / "config.yaml", _config_of_all(configs))
    facts = {
        "name": shortened(f"{config.site}.{config.layer} k{config.top_k} agreement of {len(methods)}", LONGEST_NAME),
        "parent": None,
        "choices": {"selection": ",".join(methods)},
        "tags": early_tags(
            config, {"dataset": config.dataset.source, "selection": ",".join(methods)}, experiments[methods[0]].read
        ),
    }
    with open_run(build_store(config.tracking), folder, facts) as run:
        compared = compare_methods(experiments)
        write_agreement(compared, folder)
        keep_dataset_facts(folder, compared.text.treebank, compared.text.digest)
        arrived = run.send(folder)
    console = terminal()
    _show(compared, console)
    console.print(
        f"Everything is in {folder}"
        + ("" if arrived else f"; send it later with: keyneurons log {shlex.quote(str(folder))}"),
        soft_wrap=True,
    )


def _composed(method: str, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> Config:
    try:
        return compose([*overrides, f"selection={method}"])
    except Exception as error:
        raise ValueError(f"selection={method}: {' '.join(str(error).split())}") from error


def _config_of_all(configs: dict[str, Config]) -> str:
    dumped = {method: config.model_dump(mode="json", by_alias=True) for method, config in configs.items()}
    whole = next(iter(dumped.values())) | {"selection": {name: each["selection"] for name, each in dumped.items()}}
    return write_yaml(whole)


def _show(compared: MethodAgreement, console: Console) -> None:
    console.print(agreement_title(compared), style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("method", "method", "Jaccard", "by chance", "RBO", "Kendall's tau"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in agreement_rows(compared.agreement):
        table.add_row(*row)
    show_wide(table, console)
    console.print("Means over the tags. RBO: rank-biased overlap (p = .9). Tau is over all neurons.", soft_wrap=True)
