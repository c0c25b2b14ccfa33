"""The command ``hypotheses``: its numbers recomputed from the tables and metrics of the run."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from unittest import mock

import pytest
from user import Command, Place, output_folders, runs_in

LESION = ["lesion=zero", "lesion.sentences=9", "lesion.bootstraps=50", "reliability.halves=0"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def benjamini_hochberg(p_values: list[float]) -> list[float]:
    """The textbook formula: the smallest ``p_(j) m / j`` over the ranks j from the own one."""
    ordered = sorted(p_values)
    of_rank = [min(p * len(ordered) / j for j, p in enumerate(ordered[i:], i + 1)) for i in range(len(ordered))]
    return [of_rank[len(ordered) - 1 - ordered[::-1].index(p)] for p in p_values]


def test_a_run_with_lesions_is_tabulated_from_its_own_files(call: Command, tmp_path: Path, place: Place) -> None:
    assert call(*place.small, *LESION).status == 0
    (run,), (folder,) = runs_in(tmp_path), output_folders(tmp_path)
    done = call("hypotheses", str(folder))
    assert done.status == 0, done.err
    assert call("hypotheses", run.info.run_id).status == 0
    first, second = sorted((tmp_path / "outputs").glob("*/*-hypotheses"))
    assert sorted(path.name for path in first.iterdir()) == ["hypotheses.csv", "hypotheses.md"]
    assert (first / "hypotheses.csv").read_text("utf-8") == (second / "hypotheses.csv").read_text("utf-8")

    rows = rows_of(first / "hypotheses.csv")
    matrix = {row.pop("tag"): row for row in rows_of(folder / "lesion_beyond_random.csv")}
    effects = {row["tag"]: row for row in rows_of(folder / "lesion_effects.csv") if row["family"] == "random"}
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    key = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    facts = json.loads((folder / "lesion.json").read_text("utf-8"))
    adjusted = benjamini_hochberg([float(effects[row["tag"]]["p_value"]) for row in rows])
    assert [row["tag"] for row in rows] == list(key) == list(matrix)
    for row, adjusted_p in zip(rows, adjusted, strict=True):
        tag = row["tag"]
        others = [float(value) for other, value in matrix[tag].items() if other != tag]
        expected = {
            "words": facts["words"][tag],
            "effect": float(matrix[tag][tag]),
            "others": sum(others) / len(others),
            "difference": float(matrix[tag][tag]) - sum(others) / len(others),
            "p_value": float(effects[tag]["p_value"]),
            "p_adjusted": adjusted_p,
            "control_sets": float(effects[tag]["sets"]),
            "detectable": float(effects[tag]["detectable"]),
            "key_neurons": len(key[tag]),
            "probe_f1": metrics[f"per_tag/f1/{tag}"],
            "random_f1": metrics[f"per_tag/random_f1/{tag}"],
        }
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
        assert row["strongest"] == f"mlp.{key[tag][0]['layer']}.{key[tag][0]['neuron']}"
        assert row["double_dissociations"] == "not testable"  # five sets of all tags
        for name in ("effect", "others", "difference"):
            assert float(row[f"{name}_low"]) <= float(row[name]) <= float(row[f"{name}_high"])
        assert f"{tag} {row['predicted_deficit']}" in done.out
    text = (first / "hypotheses.md").read_text("utf-8")
    assert text.count("\n| ") == 2 * (1 + len(rows))
    assert "no single double dissociation among 6 pairs of tags can be significant: use lesion.sets=119" in text


def test_python_has_the_same_table(
    place: Place, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyneurons

    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ, environment, clear=True):
        result = keyneurons.run(*place.small, *LESION)
    table = result.hypotheses().set_index("tag")
    for tag, row in table.iterrows():
        assert row["p_value"] == result.metrics[f"lesion/zero/random/p_value/{tag}"]
        assert row["probe_f1"] == result.metrics[f"per_tag/f1/{tag}"]
        assert row["predicted_deficit"].endswith(".")


def test_a_run_without_lesions_says_so(call: Command, tmp_path: Path, place: Place) -> None:
    assert call(*place.small, "reliability.halves=0").status == 0
    done = call("hypotheses", str(output_folders(tmp_path)[0]))
    assert done.status == 0, done.err
    assert "The run has no lesions (lesion=zero), so it predicts no deficit" in done.out
    (table,) = (tmp_path / "outputs").glob("*/*-hypotheses/hypotheses.csv")
    for row in rows_of(table):
        assert {row[name] for name in ("words", "effect", "p_value", "difference_high", "predicted_deficit")} == {""}
        assert float(row["probe_f1"]) >= 0


def test_mistakes_are_reported_in_one_line(call: Command, tmp_path: Path, place: Place) -> None:
    assert call(*place.small, *LESION, "lesion.further_sets=0", "lesion.sets=2").status == 0
    (folder,) = output_folders(tmp_path)
    assert (
        "hypotheses takes only a run and tracking.uri=, got layer=3" in call("hypotheses", str(folder), "layer=3").error
    )
    assert "the run must be its MLflow id or its folder under outputs/, got ''" in call("hypotheses", " ").error
    path = folder / "lesion.json"
    facts = json.loads(path.read_text("utf-8"))
    damaged = {
        "lesion.json does not fit this version: beyond: Field required": {
            k: v for k, v in facts.items() if k != "beyond"
        },
        "words.DET: Input should be greater than 0, got 0": facts | {"words": facts["words"] | {"DET": 0}},
        "metrics.json has no lesion/zero/random/p_value/ZZZ": facts | {"tags": [*facts["tags"], "ZZZ"]},
        "lesion.json has no effects of DET": facts | {"beyond": {"random": {}}},
    }
    for message, contents in damaged.items():
        path.write_text(json.dumps(contents), encoding="utf-8")
        assert message in call("hypotheses", str(folder)).error
    path.unlink()
    assert "lesion.json missing" in call("hypotheses", str(folder)).error
