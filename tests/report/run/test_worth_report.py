"""The sentence and the figure of the worth of the key neurons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.pipeline.worth import Worth
from keyneurons.report.drawing import save
from keyneurons.report.run.worth import figure_of_sizes, worth_sentence


def worth(neurons: Estimate, n_key: int = 137, *, reached: bool = True) -> Worth:
    sizes = np.array([8, 113, 1536])
    random = (np.array([0.2, 0.3]), np.array([0.6, 0.7]), np.array([0.95]))
    return Worth(sizes, random, np.array([0.4, 0.8, 0.95]), {8: 0.5, 113: 0.85, n_key: 0.9}, neurons, reached)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            worth(Estimate(410.2, 350.4, 479.6)),
            "137 key neurons are worth 410 random ones (95 % interval 350 to 480)",
        ),
        (
            worth(Estimate(1400.0, 1200.0, 1536.0)),
            "137 key neurons are worth 1400 random ones (95 % interval 1200 to 1536 (all) or more)",
        ),
        (
            worth(Estimate(1536.0, 1300.0, 1536.0), reached=False),
            "137 key neurons are worth more than all 1536 neurons (95 % interval 1300 or more)",
        ),
        (
            worth(Estimate(8.0, 8.0, 12.0), 1),
            "1 key neuron is worth at most 8 random ones (95 % interval 8 or fewer to 12)",
        ),
    ],
    ids=["reached", "uncertain", "beyond-all", "below-smallest"],
)
def test_the_sentence_says_how_many_random_neurons_are_needed(found: Worth, sentence: str) -> None:
    assert worth_sentence(found) == sentence


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    figure = figure_of_sizes(worth(Estimate(410.2, 350.4, 479.6)), Estimate(0.9, 0.88, 0.93), "title")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()][-2:] == [
        "all 137 key neurons (95 % interval)",
        "their worth in random ones (95 % interval)",
    ]
    union, worth_of = axes.containers
    assert union.lines[2][0].get_segments()[0][:, 1] == pytest.approx([0.88, 0.93])
    assert worth_of.lines[2][0].get_segments()[0][:, 0] == pytest.approx([350.4, 479.6])
    save(figure, tmp_path / "a")
    assert (tmp_path / "a.png").stat().st_size > 10_000
