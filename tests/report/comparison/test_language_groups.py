"""Runs on several treebanks: grouping, scripts, missing tags, tables, page and console."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import asked, comparison, file, printed, run, shown

from keyneurons.analysis.languages import shared_with
from keyneurons.analysis.sentence_bootstrap import Difference
from keyneurons.pipeline.transfer import Cell, Transfer
from keyneurons.records import KeyNeuron, NeuronSets
from keyneurons.report.comparison.language_figures import overlap_of_languages, transfer_of_languages
from keyneurons.report.comparison.language_tables import language_facts, write_language_tables
from keyneurons.report.comparison.languages import LanguageGroup, language_groups
from keyneurons.report.comparison.note import markdown
from keyneurons.report.comparison.tables import RunComparison

TREEBANKS = ("UD_English-EWT", "UD_French-GSD", "UD_Japanese-GSD")


def sets(**tags: list[int]) -> dict[str, Any]:
    own = file(0)
    return {**own, "tags": {t: [{"layer": 8, "neuron": n, "score": 0.5} for n in some] for t, some in tags.items()}}


FILES = (
    sets(NOUN=[0, 1, 2], VERB=[3, 4, 5], PART=[9]),
    sets(NOUN=[0, 1, 3], VERB=[4, 5, 6]),
    sets(NOUN=[0, 7, 8], VERB=[9, 10, 11]),
)


def of_treebanks(*, layers: tuple[int, ...] = (8,), names: tuple[str, ...] = TREEBANKS, **more: str) -> RunComparison:
    runs, files = [], []
    for layer in layers:
        for name, own in zip(names, FILES, strict=False):
            params = asked("correlation", 10, layer=layer, **{"dataset.treebank": name, **more})
            runs.append(run(f"{name} {layer}", params, **{"stability/halves/jaccard": 0.5}))
            files.append(own)
    found = comparison(runs, files)
    groups = language_groups(found.rows, {each.id: each.params for each in runs}, found.files)
    return replace(found, languages=groups)


def measured() -> LanguageGroup:
    """A group with transfer: every language is right on itself and at chance elsewhere."""
    [group] = of_treebanks().languages
    names = tuple(group.runs)
    difference = Difference(0.3, 0.2, 0.4, 0.01)
    cells = tuple(
        Cell(a, b, standardised, 50, 0.9 if a == b else 0.4, 0.2, 0.01, 0.25, difference, 5, 0.5, None, 0.02)
        for a in names
        for b in names
        for standardised in ("source", "target")
    )
    own = {name: NeuronSets("mlp", (8,), 32, {"NOUN": (KeyNeuron(8, i, 1.0),)}) for i, name in enumerate(names)}
    script = shared_with(own, [KeyNeuron(8, 0, 1.0)], "script")
    return replace(group, transfer=Transfer(names, ("NOUN", "VERB"), cells), of_script=script)


def test_runs_that_differ_in_their_treebank_only_are_a_group() -> None:
    one, two = of_treebanks(layers=(4, 8)).languages
    assert (one.title, two.title) == ("layer 4", "layer 8")
    assert list(one.runs) == ["English EWT", "French GSD", "Japanese GSD"]
    assert one.scripts == {"English EWT": ("Latn",), "French GSD": ("Latn",), "Japanese GSD": ("Jpan",)}
    assert one.halves == dict.fromkeys(one.runs, 0.5)


def test_other_runs_are_no_group() -> None:
    assert not of_treebanks(names=("UD_English-EWT",)).languages
    same = of_treebanks(names=("UD_English-EWT", "UD_English-EWT"))
    assert not same.languages
    assert 'id="languages"' not in shown(same).html


def test_other_labels_are_other_groups() -> None:
    runs = [
        run(f"{t}{c}", asked("f", 10, **{"dataset.treebank": t, "dataset.tag_column": c}))
        for t in TREEBANKS[:2]
        for c in ("upos", "script")
    ]
    found = comparison(runs, [{**FILES[0], "tag_column": c} for _ in range(2) for c in ("upos", "script")])
    groups = language_groups(found.rows, {each.id: each.params for each in runs}, found.files)
    assert [group.title for group in groups] == ["dataset.tag_column script", "dataset.tag_column upos"]
    assert all(len(group.runs) == 2 for group in groups)


def test_scripts_missing_tags_and_no_common_tag_are_noted() -> None:
    [group] = of_treebanks().languages
    missing, scripts = group.notes
    assert missing == "Tags that a language lacks, or has too few words of: PART: French GSD, Japanese GSD."
    assert scripts.startswith("Treebanks differ in script (English EWT Latn; French GSD Latn; Japanese GSD Jpan), for")
    within, between = (2 / 4 + 2 / 4) / 2, np.mean([(1 / 5 + 0) / 2, (1 / 5 + 0) / 2])
    assert scripts.endswith(f"{between:.3f} between scripts (2 pairs), {within:.3f} within one (1 pair).")
    assert all(note in printed(of_treebanks()) for note in group.notes)
    assert "- Treebanks differ in script (English EWT Latn" in markdown(of_treebanks())
    assert not of_treebanks(names=TREEBANKS[:2]).languages[0].notes[1:]
    runs = [run(t, asked("f", 10, **{"dataset.treebank": t})) for t in TREEBANKS[:2]]
    found = comparison(runs, [sets(NOUN=[1]), sets(VERB=[1])])
    [apart] = language_groups(found.rows, {each.id: each.params for each in runs}, found.files)
    assert apart.notes[-1] == "English EWT and French GSD have no tag in common."
    assert language_facts(apart)["pairs"][0]["values"] == ["-", "-", "-"]


def test_the_page_and_the_tables_have_the_numbers(tmp_path: Path) -> None:
    group = measured()
    page = shown(replace(of_treebanks(), languages=(group,)))
    assert "English EWT, French GSD" in page.html
    assert "2 (0.79), 1 (0.03)" in page.html  # 32 (3 p^2 (1 - p) + p^3) and 32 p^3 with p = 3 / 32
    write_language_tables((group,), tmp_path)
    rows = {path.stem: list(csv.DictReader(path.open(encoding="utf-8"))) for path in tmp_path.iterdir()}
    assert sorted(rows) == ["languages", "languages_by_tag", "script", "shared_core", "transfer"]
    noun = rows["languages_by_tag"][0]
    assert (noun["tag"], noun["shared"], float(noun["jaccard"])) == ("NOUN", "2", 0.5)
    assert [row["same_script"] for row in rows["languages"]] == ["True", "False", "False"]
    core = [row for row in rows["shared_core"] if row["tag"] == "NOUN"]
    assert [(row["at_least"], row["neurons"], row["layer_neuron"]) for row in core] == [
        ("2", "2", "8.0 8.1"), ("3", "1", "8.0"),
    ]  # fmt: skip
    assert len(rows["transfer"]) == 18
    assert rows["transfer"][0]["new_random"] == ""
    assert [(row["language"], row["shared"]) for row in rows["script"]] == [
        ("English EWT", "1"), ("French GSD", "0"), ("Japanese GSD", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize("draw", [overlap_of_languages, transfer_of_languages])
def test_figures_have_the_matrices(draw: Any) -> None:
    figure = draw(measured())
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert (".9" in texts or ".90" in texts) if draw is transfer_of_languages else ".50" in texts
