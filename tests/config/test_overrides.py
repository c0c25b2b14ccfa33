"""Overrides: any text survives Hydra's grammar, and errors are one line."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from keyneurons.cli.command_line import parse
from keyneurons.cli.commands import _config
from keyneurons.cli.errors import is_mistake, one_line
from keyneurons.config.overrides import override
from keyneurons.config.paths import conf_folder
from keyneurons.config.schema import Config

ODD = st.sampled_from([
    "\\",
    "'",
    '"',
    "${",
    "}",
    "\\${",
    "${x}",
    "${oc.env:HOME}",
    "=",
    ",",
    " ",
    "[",
    "~",
    "-",
    "\n",
    "é",
])
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.one_of(ODD, st.text("ab", max_size=2)), max_size=8).map("".join),
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(TEXTS)
def test_any_text_survives(text: str) -> None:
    parsed = OverridesParser.create().parse_override(override("a.b", text))
    assert parsed.key_or_group == "a.b"
    assert OmegaConf.create({"b": parsed.value()}).b == text


@settings(derandomize=True, deadline=None, max_examples=5)
@given(TEXTS)
def test_any_folder_can_be_named_in_a_whole_configuration(text: str) -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        composed = compose("config", [override("hydra.sweep.dir", text)], return_hydra_config=True)
    assert composed.hydra.sweep.dir == text


GETTERS = {
    "top_k": lambda c: c.top_k,
    "seed": lambda c: c.seed,
    "layer": lambda c: c.layer,
    "threshold.alpha": lambda c: c.threshold.alpha,
    "site": lambda c: c.site,
    "dataset.tag_column": lambda c: c.dataset.tag_column,
    "dataset.tags": lambda c: c.dataset.tags,
    "cache": lambda c: c.cache,
    "per_tag.random_sets": lambda c: c.per_tag.random_sets,
    "probe.batch_size": lambda c: c.probe.batch_size,
    "lesion.pairs": lambda c: c.lesion,
    "model.bos": lambda c: c.model.bos,
    "selection": lambda c: c.selection.target,
    "tracking.uri": lambda c: c.tracking.uri,
}
"""Keys, with functions that read their value from a validated configuration."""

VALUES = [
    *(
        "3",
        "-3",
        "0",
        "1e3",
        "007",
        "1_0",
        "0x1f",
        "1.5",
        "nan",
        "inf",
        "true",
        "off",
        "null",
        "''",
        "' 3'",
        '"3"',
        "",
        "3 ",
    ),
    *(
        "abc",
        "mlp",
        "all",
        "upos",
        "a b",
        "a,b",
        "[1,2]",
        "[1,[2]]",
        "[]",
        "{}",
        "{a: 1}",
        "[a",
        "a]",
        "{a",
        "'a",
        "a\\",
        "\\,",
    ),
    *(
        "${top_k}",
        "${nothing}",
        "${oc.env:NOT_THERE}",
        "${",
        "$x",
        "???",
        "~/x",
        "/a/../b",
        "é",
        "\u2028",
        "\0",
        "\n",
        "\ud800",
    ),
    *(
        "range(1,3)",
        "choice(1,2)",
        "glob(*)",
        "int(3)",
        "str(3)",
        "f(x)",
        "correlation",
        "correlation,lape",
        "[correlation]",
    ),
    *(
        "sqlite:///x?.db",
        "sqlite:///a%3Fb.db",
        "http://u:p4ss@h",
        "9" * 5000,
        "[" * 300,
        "[" * 300 + "]" * 300,
        "x" * 20000,
    ),
]
PREFIXES = ["", "", "", "", "+", "++", "~", "+++", "-", "--", "@", " "]
SEPARATORS = ["=", "=", "=", "=", "==", " = ", ":", "", "=+", "@x="]


def generated(n: int) -> list[str]:
    draw = random.Random(14)
    keys = [
        *GETTERS,
        "topk",
        "model.x",
        "hydra.run.dir",
        "hydra.nonsense",
        "a/b",
        "",
        "_target_",
        "top_k.x",
        "TOP_K",
        "schlüssel",
    ]
    return [draw.choice(PREFIXES) + draw.choice(keys) + draw.choice(SEPARATORS) + draw.choice(VALUES) for _ in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_override_means_what_it_says_or_is_one_line(part: int) -> None:
    for text in generated(320)[part::8]:
        taken, error = composed(text)
        if taken is not None:
            means_what_it_says(text, taken)
            continue
        assert error is not None
        assert is_mistake(error), text
        line = one_line(error, [text])
        assert re.search(r"\w{3}", line), text
        assert "\n" not in line
        assert "p4ss" not in line
        assert len(line) < 2500, text


def composed(text: str) -> tuple[Config | None, Exception | None]:
    try:
        return _config([text]), None
    except Exception as error:
        return None, error


def means_what_it_says(text: str, config: Config) -> None:
    """Check that an accepted override sets its key to the value that Hydra parsed."""
    parsed = OverridesParser.create().parse_override(text)
    key, value = parsed.key_or_group, parsed.value()
    if key not in GETTERS or parsed.is_delete() or value == "${top_k}":
        return
    meant = GETTERS[key](config)
    if isinstance(meant, bool):
        assert meant is {"off": False, "true": True, "True": True, "0": False}[str(value)], text
    elif isinstance(meant, int | float):
        assert not isinstance(value, bool), text
        assert float(value) == meant, text
    elif key == "tracking.uri":
        assert meant in {value, f"sqlite:///{Path.cwd()}/{str(value).removeprefix('sqlite:///')}"}, text
    elif key == "selection":
        assert value.replace("_", "") in meant.lower(), text
    elif isinstance(meant, tuple):
        assert list(meant) == value, text
    else:
        assert str(meant) == str(Path(value) if key == "cache" else value), text


@pytest.mark.parametrize(
    "arguments",
    [
        ["top_k=1", "-m", "layer=2", "seed=3"],
        ["-m", "top_k=1", "layer=2", "seed=3"],
        ["top_k=1", "layer=2", "seed=3", "--multirun"],
    ],
)
def test_a_flag_may_stand_anywhere(arguments: list[str]) -> None:
    line = parse(arguments)
    assert (len(line.flags), line.config_dir, line.multirun, line.runs) == (1, None, True, True)
    assert line.overrides == ("top_k=1", "layer=2", "seed=3")


def test_a_flag_keeps_its_value() -> None:
    given = ["top_k=1", "--config-dir", "mine", "layer=2", "-cn", "other", "--cfg", "job"]
    line = parse(given)
    assert line.flags == ("--config-dir", "mine", "-cn", "other", "--cfg", "job")
    assert line.overrides == ("top_k=1", "layer=2")
    assert (line.config_dir, line.config_name, line.runs) == (Path("mine").absolute(), "other", False)
