"""The experiment languages and its transfer, on two treebanks and a tiny model."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from user import QUICK, Command, Place, runs_in, write_treebank


def test_languages_are_compared_with_transfer(call: Command, place: Place) -> None:
    folder = Path("data")
    folder.mkdir()
    for seed, name in enumerate(("fr_gsd-ud-test.conllu", "tr_pud-ud-test.conllu")):
        write_treebank(folder / name, seed=seed)
    model = [each for each in place.small if not each.startswith("dataset")]
    treebanks = "hydra.sweeper.params={dataset.treebank:'UD_French-GSD,UD_Turkish-PUD'}"
    ended = call("experiment=languages", *model, *QUICK, "dataset.folder=data", treebanks)
    assert ended.status == 0, ended.err
    children = [run for run in runs_in(Path.cwd()) if "mlflow.parentRunId" in run.data.tags]
    accuracy = {run.data.params["dataset.treebank"]: run.data.metrics["probe/test_accuracy"] for run in children}
    sweep = children[0].data.tags["mlflow.parentRunId"]
    ended = call("compare", f"sweep={sweep}", "transfer=true")
    assert (ended.status, ended.err) == (0, "")
    assert "transfer, standardised on the target" in ended.out
    [table] = Path("outputs").glob("*/*-compare/transfer.csv")
    with table.open(encoding="utf-8") as lines:
        cells = {(r["source"], r["target"], r["standardised"]): r for r in csv.DictReader(lines)}
    assert len(cells) == 8
    for treebank, own in accuracy.items():  # all tags are common: a language on itself is its run
        name = treebank.removeprefix("UD_").replace("-", " ")
        for standardised in ("source", "target"):
            assert float(cells[name, name, standardised]["accuracy"]) == pytest.approx(own)
    assert (table.parent / "figures" / "transfer.png").is_file()
    page = (table.parent / "report.html").read_text(encoding="utf-8")
    assert 'id="languages"' in page
    refused = call("experiment=languages", "dataset.treebank=UD_French-GSD")
    assert """change its values with 'hydra.sweeper.params={dataset.treebank: "..."}'""" in refused.error
    single = call("compare", "filter=params.`dataset.treebank` = 'UD_French-GSD'", "transfer=true")
    assert single.status == 1
    assert "transfer=true needs runs that differ in their treebank only" in single.error
