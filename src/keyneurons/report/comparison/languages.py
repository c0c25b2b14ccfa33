"""Runs of one configuration on several treebanks: their languages and scripts, what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from keyneurons.analysis.languages import LanguagePair, Languages, TagPair, compare_languages
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.data.treebank_table import ud_treebanks
from keyneurons.metrics import HALVES_JACCARD
from keyneurons.report.comparison.factors import describe
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.phrases import counted

if TYPE_CHECKING:
    from keyneurons.pipeline.transfer import Transfer

OF_LABELS = ("dataset.tag_column", "dataset.tags", "dataset.balance", "dataset.min_words_per_tag")
"""Keys of the dataset that are no choice of the treebank."""


@dataclass(frozen=True)
class LanguageGroup:
    """Runs that differ in their treebank only.

    ``runs`` are their ids by language, ``scripts`` the scripts of languages whose treebank is
    known (ISO 15924), ``halves`` the Jaccard of the sets from two halves of a language's own train
    sentences, where measured. ``transfer``, and the share of every set that marks script, are
    measured on request.
    """

    title: str
    runs: Mapping[str, str]
    scripts: Mapping[str, tuple[str, ...]]
    halves: Mapping[str, float]
    sets: Languages
    transfer: Transfer | None = None
    of_script: tuple[TagPair, ...] = ()

    def same_script(self, pair: LanguagePair) -> bool | None:
        """Whether two languages share a script; None if one is unknown."""
        first, second = self.scripts.get(pair.first), self.scripts.get(pair.second)
        return None if first is None or second is None else bool({*first} & {*second})

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not compared, and what limits the comparison."""
        missing = "; ".join(f"{tag}: {', '.join(names)}" for tag, names in self.sets.missing.items())
        notes = [f"Tags that a language lacks, or has too few words of: {missing}."] if missing else []
        notes += [f"{pair.first} and {pair.second} have no tag in common." for pair in self.sets.apart]
        return (*notes, *self._on_scripts())

    def _on_scripts(self) -> list[str]:
        pairs = [pair for pair in self.sets.pairs if pair.same_tag is not None]
        apart = [pair for pair in pairs if self.same_script(pair) is False]
        if not apart:
            return []
        scripts = "; ".join(f"{name} {' '.join(own)}" for name, own in self.scripts.items())
        within = [pair for pair in pairs if self.same_script(pair)]
        means = [f"{_mean(apart)} between scripts ({counted(len(apart), 'pair')})"]
        means += [f"{_mean(within)} within one ({counted(len(within), 'pair')})"] if within else []
        return [
            f"Treebanks differ in script ({scripts}), for which reason alone their sets may differ: "
            f"mean Jaccard of a tag's sets {', '.join(means)}."
        ]


def _mean(pairs: Sequence[LanguagePair]) -> str:
    return f"{fmean(pair.same_tag for pair in pairs if pair.same_tag is not None):.3f}"


def language_groups(
    rows: Sequence[RunRow], params: Mapping[str, Mapping[str, str]], files: Mapping[str, Mapping[str, Any]]
) -> tuple[LanguageGroup, ...]:
    """The rows that differ in their treebank only, where there are several treebanks.

    Args:
        rows: The configurations; of several seeds, the first is compared.
        params: The params of every run.
        files: The ``key_neurons.json`` of every run.
    """
    grouped: dict[tuple[object, ...], list[RunRow]] = {}
    for row in rows:
        settings = {key: value for key, value in row.factors.items() if not _of_treebank(key)}
        grouped.setdefault((sets_in(files[row.id])[0], *settings.items()), []).append(row)
    return tuple(
        _group(own, params, files)
        for own in grouped.values()
        if len({_treebank(params[row.id], files[row.id]) for row in own}) > 1
    )


def _group(
    rows: Sequence[RunRow], params: Mapping[str, Mapping[str, str]], files: Mapping[str, Mapping[str, Any]]
) -> LanguageGroup:
    treebanks = [_treebank(params[row.id], files[row.id]) for row in rows]
    named = {_named(rows, treebanks, i): (row, treebanks[i]) for i, row in enumerate(rows)}
    known = ud_treebanks()
    others = {key: value for key, value in rows[0].factors.items() if not _of_treebank(key)}
    return LanguageGroup(
        title=describe(others),
        runs={name: row.id for name, (row, _) in named.items()},
        scripts={name: known[treebank].scripts for name, (_, treebank) in named.items() if treebank in known},
        halves={n: row.metrics[HALVES_JACCARD] for n, (row, _) in named.items() if HALVES_JACCARD in row.metrics},
        sets=compare_languages({name: sets_in(files[row.id])[1] for name, (row, _) in named.items()}),
    )


def _of_treebank(key: str) -> bool:
    return key == "choice.dataset" or (key.startswith("dataset.") and key not in OF_LABELS)


def _treebank(params: Mapping[str, str], file: Mapping[str, Any]) -> str:
    return params.get("dataset.treebank") or str(file["dataset"]["id"])


def _named(rows: Sequence[RunRow], treebanks: Sequence[str], i: int) -> str:
    """The name of a treebank, with the other settings of its text if it occurs twice."""
    name = treebanks[i].removeprefix("UD_").replace("-", " ").replace("_", " ")
    if treebanks.count(treebanks[i]) == 1:
        return name
    own = {key: value for key, value in rows[i].factors.items() if _of_treebank(key) and key != "dataset.treebank"}
    return f"{name} ({describe(own)})"


def pairs_by_tag(group: LanguageGroup) -> dict[str, list[TagPair]]:
    """The pairs of languages of every tag that at least two have."""
    by_tag: dict[str, list[TagPair]] = {}
    for pair in group.sets.by_tag:
        by_tag.setdefault(pair.tag, []).append(pair)
    return by_tag
