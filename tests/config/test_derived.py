"""Keys whose values follow from other keys of a configuration."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from keyneurons.config.compose import checked, composed, composing
from keyneurons.config.derived import derived_in, derived_keys, derived_tag
from keyneurons.config.validation import validate


@pytest.mark.parametrize(
    ("value", "is_derived"),
    [
        ("${top_k}", True),
        ("${model.width}", True),
        ("x/${top_k}/${model.width}", True),
        ("${..top_k}", True),
        (["${top_k}", 3], True),
        ("10", False),
        (r"\${top_k}", False),
        ("${oc.env:HOME}", False),
        ("${oc.env:HOME}/${top_k}", False),
    ],
    ids=str,
)
def test_references_to_other_keys_are_derived(value: object, is_derived: bool) -> None:
    config = OmegaConf.create({"top_k": 10, "model": {"width": 3}, "section": {"key": value}})
    assert derived_keys(config) == (("section.key",) if is_derived else ())


def test_a_method_records_the_argument_that_follows_from_top_k() -> None:
    assert checked(["selection=l1_probe"]).derived == ("selection.n_nonzero",)
    assert checked(["selection=l1_probe", "selection.n_nonzero=5"]).derived == ()
    assert checked(["selection=random"]).derived == ("selection.seed",)
    assert checked([]).derived == ()


def test_the_record_is_no_part_of_the_values() -> None:
    with composing():
        config = validate(composed(["selection=l1_probe"]))
    assert "derived" not in str(config.model_dump())


def test_a_tag_holds_the_keys() -> None:
    assert derived_in(derived_tag(("a.b", "c"))) == ("a.b", "c")
    assert derived_tag(()) == {}
    assert derived_in({}) == ()
