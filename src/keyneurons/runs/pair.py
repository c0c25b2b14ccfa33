"""Two runs to compare: found in a store, a folder or a file, and checked to be comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from keyneurons.analysis.set_pair import pair_of_sets
from keyneurons.artifacts.bound import Binding
from keyneurons.artifacts.key_neurons import local_key_neurons, read_key_neurons, sets_in
from keyneurons.artifacts.metrics import METRICS_FILE, read_metrics
from keyneurons.artifacts.run_facts import RUN_FILE, read_run_facts
from keyneurons.config.derived import derived_in
from keyneurons.report.comparison.pair import RunPair, Side
from keyneurons.runs.finished import CONFIG, load_run
from keyneurons.tracking import Store, params_of


def compare_pair(which: Sequence[str], store: Store) -> RunPair:
    """Compare two runs.

    Args:
        which: an MLflow run id, a folder of a run or a ``key_neurons.json`` for each.
        store: the store of the runs.

    Raises:
        ValueError: a run is missing or damaged, or their neurons are not comparable.
    """
    first, second = (_side(each, store) for each in which)
    (bound, sets), (other_bound, other_sets) = sets_in(first.file), sets_in(second.file)
    for name in (field.name for field in fields(Binding) if field.name != "tag_column"):
        if (a := getattr(bound, name)) != (b := getattr(other_bound, name)):
            raise ValueError(f"neurons of different {name} are not comparable: A has {a}, B has {b}")
    return RunPair(first, second, pair_of_sets(sets, other_sets))


def _side(which: str, store: Store) -> Side:
    folder = Path(which).expanduser()
    if (path := local_key_neurons(which)) is not None:
        metrics = read_metrics(folder) if (folder / METRICS_FILE).is_file() else {}
        return Side(which, read_key_neurons(path), metrics, *_params(folder))
    try:
        run = load_run(store, which)
    except ValueError as error:
        raise ValueError(f"{which!r} is neither a file, a folder nor a run: {error}") from error
    return Side(f"{run.name} ({run.id})", run.key_neurons(), run.metrics, run.params, derived_in(run.tags))


def _params(folder: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The params of a run in its folder, as MLflow has them, and the derived ones.

    Both are empty for other folders.
    """
    if not (folder / CONFIG).is_file() or not (folder / RUN_FILE).is_file():
        return {}, ()
    facts = read_run_facts(folder)
    choices = {f"choice.{group}": option for group, option in facts.choices.items()}
    return {**choices, **params_of(folder)}, derived_in(facts.tags)
