"""A file of scores is read as written, or raises an error that names it."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from keyneurons.artifacts.scores import open_scores
from keyneurons.atomic_files import write_tensors

FACTS = {"tags": json.dumps(["NOUN", "VERB"]), "site": "mlp", "method": "correlation"}
VALUES = torch.arange(12, dtype=torch.float32).reshape(2, 6)


def test_scores_come_back(tmp_path):
    path = tmp_path / "s.safetensors"
    write_tensors(path, {"mlp.3": VALUES, "mlp.3.p_value": VALUES / 12, "mlp.10": -VALUES}, FACTS)
    found = open_scores(path)
    assert (found.tags, found.site, found.neurons, set(found.layers)) == (("NOUN", "VERB"), "mlp", 6, {3, 10})
    assert (found.layer(10) == -VALUES.numpy()).all()


@pytest.mark.parametrize(
    ("tensors", "facts", "told"),
    [
        ({"mlp.3": VALUES[:1]}, {}, "for 2 tags"),
        ({"mlp.3": VALUES[0]}, {}, "for 2 tags"),
        ({"mlp.3": VALUES, "mlp.4": VALUES[:, :5].contiguous()}, {}, r"one width, got \[5, 6\]"),
        ({"residual.3": VALUES}, {}, "does not hold scores of mlp"),
        ({"mlp.x": VALUES}, {}, "does not hold scores of mlp"),
        ({"mlp.3": VALUES.long()}, {}, "I64"),
        ({"mlp.3.p_value": VALUES}, {}, "one width"),
        ({}, {}, "one width"),
        ({"mlp.3": VALUES}, {"tags": "NOUN"}, "damaged"),
        ({"mlp.3": VALUES}, {"tags": '["NOUN", "NOUN"]'}, "its tags are"),
        ({"mlp.3": VALUES}, {"tags": "[1, 2]"}, "its tags are"),
        ({"mlp.3": VALUES}, {"tags": "{}"}, "its tags are"),
    ],
)
def test_another_content_is_refused(tmp_path, tensors, facts, told):
    path = tmp_path / "s.safetensors"
    write_tensors(path, tensors, FACTS | facts)
    with pytest.raises(ValueError, match=told) as error:
        open_scores(path)
    assert str(path) in str(error.value)


def test_scores_that_are_not_finite(tmp_path):
    path = tmp_path / "s.safetensors"
    write_tensors(path, {"mlp.3": VALUES / 0}, FACTS)
    with pytest.raises(ValueError, match="scores of layer 3 are not finite"):
        open_scores(path).layer(3)


def test_damaged_bytes(tmp_path):
    """60 truncated or changed files: each raises the documented error or has the right shape."""
    path, draw = tmp_path / "s.safetensors", random.Random(14)
    write_tensors(path, {"mlp.3": VALUES}, FACTS)
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        if draw.random() < 0.4:
            del content[draw.randrange(len(content)) :]
        else:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        told, read = str(path), []
        try:
            found = open_scores(path)
            read = [found.layer(layer) for layer in found.layers]
        except ValueError as error:
            told = str(error)
        assert str(path) in told
        assert all(scores.shape == (2, 6) and np.isfinite(scores).all() for scores in read)
