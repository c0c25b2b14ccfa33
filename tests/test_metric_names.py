"""A tag either raises before any computation, or has its own metric names in MLflow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric

from keyneurons.config.schema import Lesion
from keyneurons.data.sources import ConlluFiles
from keyneurons.metric_names import LONGEST_NAME, LONGEST_PREFIX, check_name, check_tag, metric_name, shortened
from keyneurons.pipeline.dataset import Dataset
from keyneurons.records import SPLITS
from keyneurons.tracking import Store

ALPHABETS = [
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), min_size=1, max_size=8),
    st.text("/._-x2f5$ü名🙂U", min_size=1, max_size=12),
    st.text("a/", min_size=150, max_size=260),
]
TAGS = st.lists(st.one_of(ALPHABETS), min_size=2, max_size=6, unique=True)
PREFIXES = ("per_tag/f1/", "unseen_words/per_tag/random_f1/", "")


def read_back(name: str) -> str:
    escapes = r"_x([0-9a-f]{2})|_u([0-9a-f]{4})|_U([0-9a-f]{8})"
    return re.sub(escapes, lambda found: chr(int(next(filter(None, found.groups())), 16)), name)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.one_of(ALPHABETS), st.sampled_from(PREFIXES))
def test_different_keys_have_different_names(tag: str, prefix: str) -> None:
    assert read_back(metric_name(prefix + tag)) == prefix + tag
    assert metric_name(prefix + tag).startswith(prefix)


@pytest.mark.parametrize(
    ("one", "other"),
    [("/", "_x2f"), ("$5", "\u0245"), ("名a", chr(0x540DA)), (",", "_x2c"), ("_x2c", "_x5fx2c"), ("a//b", "a/_x2fb")],
)
def test_names_that_look_escaped_are_escaped_themselves(one: str, other: str) -> None:
    assert metric_name(one) != metric_name(other)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.one_of(ALPHABETS) | st.text("a./ :-", max_size=6) | st.text(max_size=3), st.sampled_from(["", "tag/", "../"]))
def test_names_that_are_accepted_mlflow_takes(name: str, prefix: str) -> None:
    """The converse holds except for line ends, which MLflow ignores, and colons on Windows."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_param, _validate_tag

    def taken(check: Callable[[], object], error: type[Exception]) -> bool:
        try:
            check()
        except error:
            return False
        return True

    key = prefix + name
    ours = taken(lambda: check_name(key), ValueError)
    if not key.endswith("\n"):
        assert ours == taken(lambda: _validate_param(key, ""), MlflowException)
        assert ours == taken(lambda: _validate_tag(key, ""), MlflowException)
    assert not (ours and key.endswith("\n"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return Store(f"sqlite:///{folder}/mlflow.db", folder / "artifacts", "tags")


def treebank_of(tags: list[str], path: Path) -> Path:
    """A treebank of three sentences, each with a word of every tag."""
    rows = "".join(f"{i}\tw{i}\t_\tX\t{tag}\t_\t_\t_\t_\t_\n" for i, tag in enumerate(tags, 1))
    path.write_text(f"{rows}\n" * 3, encoding="utf-8")
    return path


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(tags=TAGS)
def test_a_tag_is_refused_or_mlflow_takes_its_metrics(
    store: Store, tmp_path_factory: pytest.TempPathFactory, tags: list[str]
) -> None:
    file = treebank_of(tags, tmp_path_factory.getbasetemp() / "tags.conllu")
    source = ConlluFiles("tags", file=file, fractions=(0.34, 0.33, 0.33))
    dataset = Dataset(source, "xpos", None, 1, dict.fromkeys(SPLITS), dict.fromkeys(SPLITS), drop_duplicates=False)
    try:
        names = dataset.label(dataset.load(), first_words=True).names
    except ValueError as error:
        told = str(error)
    else:
        told = None
        keys = [prefix + tag for tag in names for prefix in PREFIXES[:2]]
        client = store.connect()
        run_id = store.create_run(client, "one", {}, None)
        client.log_batch(run_id, metrics=[Metric(metric_name(key), float(i), 0, 0) for i, key in enumerate(keys)])
        kept = client.get_run(run_id).data.metrics
        assert {read_back(name): value for name, value in kept.items()} == {key: i for i, key in enumerate(keys)}
    odd = [tag for tag in tags if not tag.isprintable() or any(map(str.isspace, tag))]
    long = [tag for tag in tags if len(metric_name(f"a/{tag}")) - 2 > LONGEST_NAME - LONGEST_PREFIX]
    too_few = len(set(tags) - {"_"}) < 2
    assert (told is not None) == bool(odd or long or too_few), told
    assert told is None or len(told.splitlines()) == 1


def test_a_long_tag_is_told_in_short() -> None:
    with pytest.raises(ValueError, match=r"the tag 'nnn[n.]{34}nnn' is too long: .* takes 300 characters, 186 at most"):
        check_tag("n" * 300)
    with pytest.raises(ValueError, match="takes 192 characters"):
        check_tag("名" * 32)
    check_tag("n" * 186)
    check_tag("名" * 31)


def test_every_metric_has_room_for_the_longest_tag() -> None:
    modes, families = Lesion.model_fields["mode"].annotation, ("random", "variance", "frequency", "lowest")
    for mode in get_args(modes):
        for family in families:
            assert len(f"lesion/{mode}/{family}/accuracy_in_layer_999_p_value/") <= LONGEST_PREFIX
    for prefix in (
        "stability/bootstrap/expected_jaccard/",
        "layer/prediction/cav/accuracy/",
        "unseen_words/probe/test_f1/",
    ):
        assert len(prefix) <= LONGEST_PREFIX


def test_shortened_text_has_its_ends() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcdefghij", 7) == "ab...ij"
    assert len(shortened("x" * 99, 40)) == 40
