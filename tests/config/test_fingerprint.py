"""Fingerprints include every field of the schema and the content of files, nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hydra import compose, initialize_config_dir
from pydantic import BaseModel

from keyneurons.config.fingerprint import EXCLUDED, activation_fingerprint, content_digest, fingerprint
from keyneurons.config.overrides import override
from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate

LESION = ["lesion=zero", "lesion.to=NOUN", "lesion.pairs={0}/pairs.csv", "lesion.prompts={0}/prompts.txt"]
LESION += ["lesion.neurons={0}/key_neurons.json"]
FILES = [f"dataset.{split}={{0}}/{split}.conllu" for split in ("train", "dev", "test")]
BASES = {
    "package": [*LESION, "dataset=conllu", *FILES, "dataset.file={0}/one.conllu"],
    "hub": [
        "model=hub",
        "basis=rotation",
        "model.id=a/b",
        "dataset=text",
        "dataset.path={0}/texts",
        "dataset.stanza_folder={0}/stanza",
    ],
    "local": [
        *("model=local", "model.folder={0}/model", "dataset=ud_english_ewt", "dataset.folder={0}/ewt"),
        *("basis=sae", "basis.file={0}/basis.safetensors"),
    ],
    "starter": [
        "+selection.weights={0}/weights.npy",
        "+trainer.plan={0}/plan.txt",
        "layer_by_layer.read_at=[word]",
        "basis=pca",
    ],
    "transcoder": [
        *("basis=transcoder", "basis.file={0}/basis.safetensors"),
        *("dataset=conllu", "dataset.file={0}/one.conllu"),
    ],
}
"""Together they cover every section of the schema, and a file for every key that takes one."""

Keys = tuple[str, ...]


def write_files(folder: Path) -> Path:
    for name in ("pairs.csv", "prompts.txt", "key_neurons.json", "train.conllu", "dev.conllu", "test.conllu"):
        (folder / name).write_text(name)
    for name in ("basis.safetensors", "one.conllu", "weights.npy", "plan.txt"):
        (folder / name).write_text(name)
    for name in ("texts/a.txt", "texts/deep/b.txt", "stanza/en/pos/x.pt", "stanza/resources.json", "ewt/en.conllu"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    return folder


def config_of(base: str, folder: Path | str) -> Config:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return validate(compose("config", [given(text, str(folder)) for text in BASES[base]]))


def given(text: str, folder: str) -> str:
    key, _, value = text.partition("=")
    return override(key, value.format(folder)) if "{0}" in value else text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def configs(folder: Path) -> dict[str, Config]:
    return {base: config_of(base, folder) for base in BASES}


def leaves(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield every leaf value of a configuration with its keys."""
    if isinstance(value, BaseModel):
        for key, inner in value:
            yield from leaves(inner, (*keys, key))
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*keys, key))
    else:
        yield keys, value


def changed(value: Any, keys: Keys, new: Any) -> Any:
    """Copy a configuration with one value replaced, without validation."""
    if not keys:
        return new
    if isinstance(value, BaseModel):
        return value.model_copy(update={keys[0]: changed(getattr(value, keys[0]), keys[1:], new)})
    return {**value, keys[0]: changed(value[keys[0]], keys[1:], new)}


def other(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple | list):
        return [*value, "more"]
    return {None: 1}.get(value, f"{value}x")


def counts_not(keys: Keys) -> bool:
    declared: Any = EXCLUDED
    for key in keys:
        if not isinstance(declared, Mapping) or key not in declared:
            return False
        declared = declared[key]
        if declared is None:
            return True
    return False


def test_the_bases_have_every_field_of_the_schema(configs: dict[str, Config]) -> None:
    seen = {type(part).__name__: set(type(part).model_fields) for config in configs.values() for part in parts(config)}
    assert set(seen) == {model.__name__ for model in models(Config)}


def parts(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for _, inner in value:
            yield from parts(inner)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield all sections in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    elif get_origin(annotation) is not None:
        for inner in get_args(annotation):
            yield from models(inner)


@pytest.mark.parametrize("base", BASES)
def test_every_value_counts_but_for_those_that_are_declared(configs: dict[str, Config], base: str) -> None:
    config = configs[base]
    own = fingerprint(config, "r")
    assert own != fingerprint(config, "s")
    wrong = [
        ".".join(keys)
        for keys, value in leaves(config)
        if (fingerprint(changed(config, keys, other(value)), "r") == own) is not counts_not(keys)
    ]
    assert wrong == []


@pytest.mark.parametrize("base", BASES)
def test_every_file_counts_and_its_place_does_not(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = write_files(tmp_path)
    config, own = config_of(base, here), fingerprint(config_of(base, here), "r")
    elsewhere = tmp_path.parent / f"{tmp_path.name} moved"
    shutil.copytree(here, elsewhere)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    for place in (elsewhere, ".", "~"):
        assert fingerprint(config_of(base, place), "r") == own
    named = [path for keys, value in leaves(config) for path in files_of(value) if not counts_not(keys)]
    assert named
    for path in named:
        kept = path.read_bytes()
        path.write_bytes(kept + b"!")
        assert fingerprint(config, "r") != own, path
        path.write_bytes(kept)
        assert fingerprint(config, "r") == own, path


def files_of(value: Any) -> list[Path]:
    if not isinstance(value, Path) and not (isinstance(value, str) and value.startswith("/")):
        return []
    path = Path(value)
    return [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]


def test_what_is_added_to_a_folder_renamed_or_removed_counts(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "one.txt").write_text("1")
    seen = [content_digest(tmp_path / "a")]
    (tmp_path / "a" / "deep" / "two.bin").write_text("2")
    seen.append(content_digest(tmp_path / "a"))
    (tmp_path / "a" / "deep" / "two.bin").rename(tmp_path / "a" / "two.bin")
    seen.append(content_digest(tmp_path / "a"))
    (tmp_path / "a" / "one.txt").unlink()
    seen.append(content_digest(tmp_path / "a"))
    seen.append(content_digest(tmp_path / "none"))
    assert len(set(seen)) == len(seen)
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    (tmp_path / "a" / "again").symlink_to("deep")
    (tmp_path / "a" / "deep" / "up").symlink_to("..")
    assert content_digest(tmp_path / "b") == content_digest(tmp_path / "a")


def test_packaged_pairs_and_a_run_stand_for_themselves(configs: dict[str, Config]) -> None:
    for keys, values in {("lesion", "pairs"): ["packaged", None], ("lesion", "neurons"): ["0" * 32, "1" * 32]}.items():
        seen = {fingerprint(changed(configs["package"], keys, value), "r") for value in values}
        assert len(seen) == 2


def test_jobs_that_read_different_words_do_not_read_the_same(folder: Path, configs: dict[str, Config]) -> None:
    text, starter = configs["hub"], configs["starter"]
    for config in (text, starter):
        other_k = config.model_copy(update={"top_k": config.top_k + 1, "layer": 1})
        assert (
            activation_fingerprint(config, "r")
            == activation_fingerprint(other_k, "r")
            != activation_fingerprint(config, "s")
        )
    assert activation_fingerprint(starter, "r") == activation_fingerprint(starter.model_copy(update={"seed": 5}), "r")
    assert activation_fingerprint(text, "r") != activation_fingerprint(
        text.model_copy(update={"seed": 5}), "r"
    )  # the seed determines the split
    before = activation_fingerprint(text, "r")
    (folder / "texts" / "deep" / "b.txt").write_text("other")
    assert activation_fingerprint(text, "r") != before
    (folder / "texts" / "deep" / "b.txt").write_text("texts/deep/b.txt")
