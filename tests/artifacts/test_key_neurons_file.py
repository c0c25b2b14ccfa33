"""A file of key neurons is read completely, or raises one line that names it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from damaging import ODD, damage

from keyneurons.artifacts.key_neurons import read_key_neurons
from keyneurons.atomic_files import write_json

OPTIONAL = ("top_k", "scope", "sign", "threshold", "alpha", "mass", "seed")


def refused(path, value, *told):
    write_json(path, value)
    with pytest.raises(ValueError, match=r"does not fit this version|damaged") as error:
        read_key_neurons(path)
    assert "\n" not in str(error.value)
    assert all(each in str(error.value) for each in (str(path), *told)), str(error.value)


def test_a_whole_file_comes_back(tmp_path, whole):
    path = tmp_path / "k.json"
    write_json(path, whole)
    assert read_key_neurons(path) == whole
    for name in OPTIONAL:  # files of a consensus lack these keys
        write_json(path, {key: value for key, value in whole.items() if key != name})
        assert name not in read_key_neurons(path)


@pytest.mark.parametrize("index", [48, 49, 10**12, -1, 1.0, 1.5, True, "5", None, [5]])
def test_a_neuron_is_a_number_of_its_layer(tmp_path, whole, index):
    whole["tags"]["NOUN"][0]["neuron"] = index
    refused(tmp_path / "k.json", whole, str(index))


@pytest.mark.parametrize("layer", [0, 2, 4, -1, 1.0, True, "1", None])
def test_a_layer_is_one_of_the_layers(tmp_path, whole, layer):
    whole["tags"]["NOUN"][0]["layer"] = layer
    refused(tmp_path / "k.json", whole, str(layer))


@pytest.mark.parametrize("score", ["0.5", True, None, []])
def test_a_score_is_a_number(tmp_path, whole, score):
    whole["tags"]["NOUN"][0]["score"] = score
    refused(tmp_path / "k.json", whole, "score")


def test_a_score_that_is_not_finite(tmp_path, whole):
    write_json(tmp_path / "k.json", whole)
    text = (tmp_path / "k.json").read_text("utf-8")
    for other in ("NaN", "Infinity", "-Infinity", "1e999"):
        (tmp_path / "k.json").write_text(text.replace('"score": 0.5', f'"score": {other}'), "utf-8")
        with pytest.raises(ValueError, match=other):
            read_key_neurons(tmp_path / "k.json")


def test_laws_between_the_parts(tmp_path, whole):
    path, own = tmp_path / "k.json", whole["tags"]["VERB"]
    refused(path, whole | {"layers": [3, 1]}, "ascending")
    refused(path, whole | {"layers": [1, 1, 3]}, "ascending")
    refused(path, whole | {"layers": []})
    refused(path, whole | {"format": 2}, "format 2 is not supported, only 1")
    refused(path, whole | {"neurons_per_layer": 47}, "neuron 47 of layer 3", "0..46")
    refused(path, whole | {"tags": {"VERB": own * 2}}, "'VERB' has a neuron twice")
    more = [{**own[0], "neuron": i} for i in range(5)]
    refused(path, whole | {"tags": {"VERB": more}}, "has 5 neurons, but top_k=2 allows 4")
    for other in ([], 3, None, "x"):
        refused(path, other)


def test_damage_of_any_kind(tmp_path, whole):
    """200 changes: a file that is accepted passes an independent check of the rules."""
    draw, path, taken = random.Random(14), tmp_path / "k.json", 0
    for _ in range(200):
        changed = damage(whole, draw)
        write_json(path, changed)
        wrong, told, found = list(laws_broken(changed)), "", None
        try:
            found = read_key_neurons(path)
        except ValueError as error:
            told = str(error)
        if wrong:
            assert str(path) in told, changed
            assert "\n" not in told
        else:
            assert found == changed, told
            taken += 1
    assert 10 < taken < 120


def laws_broken(file: Any) -> Iterator[str]:
    """Errors of a file, by an independent check."""
    texts = {"tag_column", "read_at", "method"}
    needed = texts | {"format", "model", "dataset", "site", "layers", "neurons_per_layer", "tags"}
    if needed - file.keys() or file.keys() - needed - set(OPTIONAL):
        yield "keys"
        return
    if any(not isinstance(file[name], str) or not file[name] for name in texts):
        yield "texts"
    if type(file["format"]) is not int or file["format"] != 1:
        yield "format"
    if file["read_at"] not in ("word", "prediction", "word, prediction", "prediction, word"):
        yield "read_at"
    if file["site"] not in ("residual", "mlp", "mlp_gate", "attention", "mlp_in"):
        yield "site"
    if not _are_texts(file["model"], "id", "revision", "architecture", "tokenizer", "random_weights"):
        yield "model"
    if not _are_texts(file["dataset"], "id", "digest"):
        yield "dataset"
    yield from _optional_laws(file)
    layers, width = file["layers"], file["neurons_per_layer"]
    numbers = isinstance(layers, list) and all(type(i) is int and i >= 0 for i in layers)
    if not numbers or not layers or layers != sorted(set(layers)):
        yield "layers"
    elif type(width) is not int or width < 1:
        yield "width"
    elif not isinstance(file["tags"], dict):
        yield "tags"
    else:
        for own in file["tags"].values():
            if not isinstance(own, list) or any(_neuron_is_wrong(n, layers, width) for n in own):
                yield "neurons"
            elif len({(n["layer"], n["neuron"]) for n in own}) < len(own):
                yield "twice"
            elif type(k := file.get("top_k")) is int and len(own) > k * (
                len(layers) if file.get("scope") == "layer" else 1
            ):
                yield "too many"


def _are_texts(part: Any, *keys: str) -> bool:
    """Whether a part has exactly these keys, with text or a seed as their values."""
    if not isinstance(part, dict) or set(part) != set(keys):
        return False
    return all(
        part[key] is None or (type(part[key]) is int and part[key] >= 0)
        if key == "random_weights"
        else isinstance(part[key], str) and part[key] != ""
        for key in keys
    )


def _optional_laws(file: Any) -> Iterator[str]:
    legal = {
        "top_k": lambda v: type(v) is int and v > 0,
        "seed": lambda v: type(v) is int and v >= 0,
        "scope": lambda v: v in ("layer", "model"),
        "sign": lambda v: v in ("both", "positive", "negative"),
        "threshold": lambda v: v in ("none", "fdr", "permutation"),
        "alpha": lambda v: type(v) is float and 0 < v < 1,
        "mass": lambda v: type(v) in (int, float) and 0 <= v <= 1,
    }
    for name, law in legal.items():
        if file.get(name) is not None and not law(file[name]):
            yield name


def _neuron_is_wrong(n: Any, layers: list[int], width: int) -> bool:
    names = {"layer", "neuron", "score", "p_value", "p_adjusted", "effect"}
    if not isinstance(n, dict) or not {"layer", "neuron", "score"} <= n.keys() <= names:
        return True
    if type(n["layer"]) is not int or n["layer"] not in layers:
        return True
    if type(n["neuron"]) is not int or not 0 <= n["neuron"] < width:
        return True
    if type(n["score"]) not in (int, float) or not math.isfinite(n["score"]):
        return True
    numbers = [n.get(name) for name in ("p_value", "p_adjusted", "effect")]
    if any(v is not None and type(v) not in (int, float) for v in numbers):
        return True
    return any(v is not None and not 0 <= v <= 1 for v in numbers[:2])


def test_the_damage_is_of_every_kind():
    """The sanity twin of the fuzz test: odd values include those that are easily mistaken."""
    assert {True, 1.5, "2", -1, 48} <= {value for value in ODD if isinstance(value, bool | int | float | str)}
