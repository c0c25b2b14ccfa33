"""The reference of keys and options is complete and agrees with the schema."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from keyneurons.cli.help import help_lines, help_or_version
from keyneurons.config.legal import legal_values
from keyneurons.config.paths import conf_folder
from keyneurons.config.reference import Key, Reference, reference
from keyneurons.config.schema import Config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole() -> Reference:
    return reference(conf_folder())


def keys_of(found: Reference) -> Iterator[Key]:
    for section in found.sections:
        yield from section.keys
    for group in found.groups:
        yield from group.keys
        for option in group.options:
            yield from option.keys


def fields(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all leaf fields of the schema."""
    inner = [kind, *get_args(kind)]
    models = [each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]
    models += [each for part in get_args(kind) for each in get_args(part) if isinstance(each, type)]
    models = [each for each in models if issubclass(each, BaseModel)]
    if not models:
        yield prefix
    for model in models:
        for name, field in model.model_fields.items():
            if field.alias is None:  # not _target_
                yield from fields(field.annotation, f"{prefix}.{name}" if prefix else name)


def test_the_page_in_docs_is_what_the_generator_makes(whole: Reference) -> None:
    page = runpy.run_path(str(ROOT / "tools" / "configuration.py"))["page"]
    message = "docs/configuration.md is out of date; run python tools/configuration.py"
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == page(whole), message


def test_every_field_of_the_schema_stands_in_it(whole: Reference) -> None:
    named = {key.name for key in keys_of(whole)}
    wanted = set(fields(Config)) - {"selection"}
    assert len(wanted) > 80
    assert wanted - named == set()


def test_every_key_and_option_has_a_comment(whole: Reference) -> None:
    assert [key.name for key in keys_of(whole) if not key.comment and key.name != "controls"] == []
    assert [(g.name, option.name) for g in whole.groups for option in g.options if not option.comment] == []


def test_every_option_stands_in_it(whole: Reference) -> None:
    for group in whole.groups:
        files = {path.stem for path in (conf_folder() / group.name).glob("*.yaml")} - {"_base"}
        assert {option.name for option in group.options} == files
    folders = {path.name for path in conf_folder().iterdir() if path.is_dir()} - {"hydra"}
    assert {group.name for group in whole.groups} == folders | {"hydra/launcher"}
    assert {group.name: group.default for group in whole.groups}["model"] == "smollm2_135m"


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("top_k", "integer > 0"),
        ("seed", "integer >= 0"),
        ("threshold.alpha", "0 < number < 1"),
        ("mass", "0 <= number <= 1 | null"),
        ("site", "residual | mlp | mlp_gate | attention | mlp_in"),
        ("layer", "integer | 0 <= number < 1 | list of integer | all"),
        ("model.source", "package | hub | local"),
        ("dataset.source", "starter | ud | conllu | text"),
        ("dataset.tags", "list of text | null"),
        ("dataset.max_words", "mapping of (train | dev | test) to (integer > 0 | null)"),
        ("dataset.fractions", "list of 3: number > 0"),
        ("lesion.shares", "list of 0 < number <= 1"),
        ("lesion.neurons", "text | path | null"),
        ("basis.file", "path | null"),
        ("trainer.max_epochs", "integer > 0"),
        ("trainer.logger", ""),
        ("selection.bins", ""),
        ("nothing.at.all", ""),
    ],
)
def test_legal_values_in_words(name: str, legal: str) -> None:
    assert legal_values(name) == legal


def test_comments_and_values_are_read_as_yaml_has_them(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "defaults:\n  - paint: red\n  - _self_\n\n"
        "# first things\nseed: 0 # of draws # and more\n'quoted': \"a # b\" # behind\nbare: x\n"
        "# second things\nthreshold: # a section\n  alpha: 0.05\n  list:\n    - a\n    - b: 1\nhydra:\n  x: 1\n",
        encoding="utf-8",
    )
    (tmp_path / "paint").mkdir()
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "paint" / "_base.yaml").write_text("# shared\ncoats: 2 # layers\n", encoding="utf-8")
    (tmp_path / "paint" / "red.yaml").write_text("# a colour,\n# and a warm one\ndefaults: [_base, _self_]\n")
    found = reference(tmp_path)
    first, second = found.sections
    assert (first.title, second.title) == ("first things", "second things")
    assert first.keys == (
        Key("seed", "0", "of draws # and more", "integer >= 0"),
        Key("quoted", '"a # b"', "behind", ""),
        Key("bare", "x", "", ""),
    )
    assert second.keys == (
        Key("threshold", None, "a section", ""),
        Key("threshold.alpha", "0.05", "", "0 < number < 1"),
        Key("threshold.list", "[a, b: 1]", "", ""),
    )
    paint = found.groups[0]
    assert (paint.name, paint.default, paint.keys) == ("paint", "red", (Key("paint.coats", "2", "layers", ""),))
    assert [(option.name, option.comment) for option in paint.options] == [("red", "a colour, and a warm one")]


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_wraps_comments_and_keeps_keys_whole(whole: Reference, width: int) -> None:
    lines = list(help_lines(whole, width))
    assert all(len(line) <= width for line in lines if line.startswith(" " * 30))
    starts = [line.split("=")[0].split()[0] for line in lines if line.strip()]
    assert {key.name for key in keys_of(whole)} <= set(starts)


def test_only_help_and_version_are_answered() -> None:
    assert help_or_version(["top_k=3"], ()) is None
    assert str(help_or_version(["selection=lape", "-h"], ("plan", "ui"))).count("plan | ui") == 1


def test_what_a_component_checks_itself_has_no_legal_values(whole: Reference) -> None:
    own = {key.name: key.legal for key in keys_of(whole) if key.name.startswith("selection.")}
    assert set(own.values()) == {""}
