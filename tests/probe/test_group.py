"""The explicit gradient equals the gradient of the objective."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from keyneurons.probe import group as module
from keyneurons.probe.group import ProbeGroup


@pytest.mark.parametrize("at_once", [1, 4 * 50 * 7 * 2, 1 << 20])  # one probe at a time, two, all
@pytest.mark.parametrize("finished", [[], [1], [0, 3]])
def test_the_gradient_is_that_of_autograd(monkeypatch, at_once, finished):
    monkeypatch.setitem(module._PART_BYTES, "cpu", at_once)
    rng = np.random.default_rng(0)
    probes = ProbeGroup(np.stack([rng.choice(20, 7, replace=False) for _ in range(4)]), 3, np.array([1, 0, 1, 1]))
    features = torch.from_numpy(rng.normal(size=(20, 50))).float()
    labels = torch.from_numpy(rng.integers(0, 3, (2, 50)))
    with torch.no_grad():
        probes.scaled_weight.copy_(torch.from_numpy(rng.normal(size=(4, 3, 7))))
        probes.bias.copy_(torch.from_numpy(rng.normal(size=(4, 3))))
    probes.unfinished = torch.tensor([p for p in range(4) if p not in finished])
    loss = probes.cross_entropy(features, labels, probes.unfinished).mean(dim=1).sum()
    objective = loss + 0.2 / 2 * probes.weight[probes.unfinished].square().sum()
    expected = torch.autograd.grad(objective, [probes.scaled_weight, probes.bias])
    probes.prepare_gradient()
    for part in probes.parts(50):
        probes.put_gradient(features, labels, part, 0.2)
    torch.testing.assert_close(probes.scaled_weight.grad, expected[0])
    torch.testing.assert_close(probes.bias.grad, expected[1])
    assert not probes.scaled_weight.grad[finished].any()
    assert probes.scaled_weight.grad.any()
