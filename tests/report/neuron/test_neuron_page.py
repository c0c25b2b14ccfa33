"""Pages are self-contained and escape all text."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from jinja2 import UndefinedError
from reading_pages import Page

from keyneurons.pipeline.neuron_profile import DevText, coloured_words, neuron_on_dev
from keyneurons.records import LabelledWords, NeuronSets, Sentence, Word
from keyneurons.report.neuron.coloured_text import Piece, WordActivation, level_of, pieces
from keyneurons.report.neuron.method_scores import ScoredBy
from keyneurons.report.neuron.neuron_chart import nice_ticks
from keyneurons.report.neuron.page import InspectedNeuron, Inspection, KeyOf, page
from keyneurons.report.pages import data_uri, render

EVIL = "<script>alert(1)</script>"
QUOTE = '"onmouseover="alert(1)'
TAGS = (EVIL, QUOTE)


def sentence(number: int, *forms: str, gap: str = " ") -> Sentence:
    words, start = [], 0
    for form in forms:
        words.append(Word(form, start, start + len(form), None, None))
        start += len(form) + len(gap)
    return Sentence(f"s{number}", gap.join(forms), tuple(words))


def hostile() -> Inspection:
    """A neuron on sentences of markup: every name, tag and word is hostile."""
    sentences = (
        sentence(0, EVIL, "dog", QUOTE, "'x'", gap=" \t  "),
        sentence(1, EVIL, "</span></style><img src=x onerror=alert(1)>", "&amp;", "{{ 7 * 7 }}"),
        sentence(2, "dog", EVIL),
    )
    forms = tuple(word.form.lower() for each in sentences for word in each.words)
    words = LabelledWords(np.arange(len(forms)), np.arange(len(forms)) % 2, forms)
    text = DevText(sentences, TAGS, words)
    activations = np.random.default_rng(0).normal(size=(len(forms), 6)).astype(np.float16)
    return Inspection(
        run=EVIL,
        facts={EVIL: QUOTE, "Model": EVIL},
        reading=EVIL,
        tag=EVIL,
        sets=NeuronSets("mlp", (3,), 6, {}),
        text=text,
        coloured=coloured_words(text, first_words=True),
        sampled=text.sample(0),
        neurons=tuple(
            InspectedNeuron(
                neuron_on_dev(text, activations, 3, neuron, seed=0),
                (KeyOf(EVIL, neuron + 1, 2, 0.5, 0.0, 0.01, 0.5, 0.1, True),),
                (ScoredBy(EVIL, ((EVIL, QUOTE),), True, {EVIL: (0.5, 1), QUOTE: (0.2, 4)}),),
            )
            for neuron in range(2)
        ),
        store=EVIL,
    )


def test_text_from_outside_stays_text():
    found = Page(page(hostile()))
    found.check_that_it_loads_and_runs_nothing()
    assert not [given for tag, given in found.elements if tag == "img"]
    assert found.told.count(EVIL) > 20
    assert "{{ 7 * 7 }}" in found.told


def test_sentences_stand_as_they_were_written_with_all_their_words():
    inspection = hostile()
    found = Page(page(inspection))
    assert len(found.sentences) == 2 * (3 + 3)
    written = {each.text: [word.form for word in each.words] for each in inspection.text.sentences}
    for each in found.sentences:
        assert [word for word, _, _ in each.words] == written[each.text]


def test_every_link_leads_to_a_place_on_the_page():
    found = Page(page(hostile()))
    ids = [given["id"] for _, given in found.elements if "id" in given]
    assert len(ids) == len(set(ids))
    links = {given["href"] for tag, given in found.elements if tag == "a"}
    assert links == {"#content", "#neuron-3-0", "#neuron-3-1", "#neurons"}
    assert {link[1:] for link in links} <= set(ids)
    labelled = {given["aria-labelledby"] for _, given in found.elements if "aria-labelledby" in given}
    assert labelled <= set(ids)


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("inspect.html")


def test_the_bare_page_has_what_every_page_needs():
    found = Page(render("base.html"))
    found.check_that_it_loads_and_runs_nothing()
    assert ("html", {"lang": "en"}) in found.elements
    assert any(given.get("name") == "viewport" for _, given in found.elements)
    [skip] = [given for tag, given in found.elements if tag == "a"]
    assert skip == {"class": "skip", "href": "#content"}
    assert "prefers-color-scheme: dark" in found.html


def test_templates_are_found_from_any_folder(tmp_path):
    code = "from keyneurons.report.pages import render; print(len(render('base.html')))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(render("base.html"))


def test_a_picture_is_its_own_address(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\x00\xff")
    assert data_uri(tmp_path / "a.png") == "data:image/png;base64,iVBORwD/"


def test_colours_go_out_from_the_centre_to_the_reach():
    values = (-9.0, -1.0, 0.9, 1.0, 1.2, 2.0, 3.0, 50.0)
    assert [level_of(value, 1.0, 2.0) for value in values] == [-10, -10, 0, 0, 1, 5, 10, 10]
    assert level_of(5.0, 5.0, 0.0) == 0


def test_words_that_share_characters_are_one_piece_in_the_colour_of_the_farthest():
    words = (Word("de", 3, 5, None, None), Word("le", 3, 5, None, None), Word("x", 5, 6, None, None))
    given = [WordActivation("ADP", 0.5), WordActivation("DET", -1.0), WordActivation(None, None)]
    found = list(pieces(Sentence("s", " a dux ", words), given, centre=0.0, reach=1.0, marked="ADP"))
    assert found == [
        Piece(" a "),
        Piece("du", -10, "de ADP 0.5; le DET -1", True),
        Piece("x", 0, "not labelled", False),
        Piece(" "),
    ]


@pytest.mark.parametrize(("low", "high"), [(-0.7, 0.9), (0.001, 0.0042), (-310.0, -12.0), (5.0, 5.1)])
def test_ticks_are_round_and_inside(low, high):
    ticks = nice_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert low <= min(ticks)
    assert max(ticks) <= high
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0])
    assert all(len(f"{tick:.6g}") <= 7 for tick in ticks)
