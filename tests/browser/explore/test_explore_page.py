"""The page of ``explore`` in a real browser: controls, odd texts, address, no other server."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

pytestmark = pytest.mark.slow
LESION = {"view": "lesion", "text": "the dog runs"}


def query(**values: object) -> str:
    return "?" + urlencode(values)


def state(page: object) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(page.url).query, keep_blank_values=True).items()}


def choose(page: object, control: str, option: str) -> None:
    page.locator(f"#{control} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_it_reads_the_default_text(visit):
    seen = visit()
    assert "old" in seen.text("#kn-read .kn-lines")
    heads = seen.text("#kn-read .kn-heads")
    assert [name in heads for name in ("key neurons (", "random neurons (", "all neurons (48;")] == [True] * 3
    assert "A word is a run of letters and digits" in seen.text("#reading")


def test_typed_text_is_read_by_the_button_and_by_the_keyboard(visit):
    seen = visit()
    box = seen.page.locator("#text textarea")
    seen.after("#kn-read", lambda: box.fill("the cat sees"), lambda: seen.page.locator("#show").click())
    assert seen.page.locator("#kn-read .kn-form").all_inner_texts()[1:] == ["the", "cat", "sees"]
    seen.after("#kn-read", lambda: box.fill("she runs"), lambda: box.press("Shift+Enter"))
    assert seen.page.locator("#kn-read .kn-form").all_inner_texts()[1:] == ["she", "runs"]


def test_tag_and_neuron_change_what_is_shown_and_the_address(visit):
    seen = visit(query(text="the dog runs"))
    first = seen.text("#kn-neuron")
    assert seen.page.locator("#tag input").input_value() == "NOUN"
    assert first == seen.page.locator("#neuron input").input_value()
    seen.after("#kn-neuron", lambda: choose(seen.page, "tag", "VERB"))
    verb = seen.text("#kn-neuron")
    assert verb == seen.page.locator("#neuron input").input_value() == state(seen.page)["neuron"]
    assert state(seen.page)["tag"] == "VERB"
    seen.page.locator("#neuron input").click()
    options = (
        seen.page.get_by_role("option").filter(has_text="mlp.").all_inner_texts()
    )  # those of the tag may be closing
    assert len(options) == 3
    third = options[2].replace("✓", "").strip()
    seen.after("#kn-neuron", lambda: seen.page.get_by_role("option", name=third, exact=True).click())
    assert seen.text("#kn-neuron") == third == state(seen.page)["neuron"]


def test_the_run_changes_the_layer(visit, explored):
    seen = visit()
    assert seen.text("#kn-neuron").startswith("mlp.2.")
    seen.page.locator("#run input").click()
    seen.after("#kn-neuron", lambda: seen.page.get_by_role("option").filter(has_text=explored.runs[1]).click())
    assert seen.text("#kn-neuron").startswith("mlp.1.")
    assert state(seen.page)["run"] == explored.runs[1]


def test_a_lesion_shows_predictions_surprisal_and_continuations(visit):
    seen = visit(query(**LESION), ready="#kn-continued")
    rows = seen.page.locator("#kn-next tbody tr").all()
    assert len(rows) == 10
    for row in rows:
        _, intact, key, change, random, other = row.locator("td").all_inner_texts()
        intact, key, random = (float(text.removesuffix(" %")) for text in (intact, key, random))
        assert float(change) == pytest.approx(key - intact, abs=0.011)
        assert float(other) == pytest.approx(random - intact, abs=0.011)
    assert seen.page.locator("#kn-surprisal .kn-word").count() == 3
    assert seen.page.locator("#kn-continued h4").all_inner_texts() == [
        "Intact model",
        "NOUN neurons changed",
        "Random neurons changed",
    ]


def test_buttons_and_factor_change_the_lesion(visit):
    seen = visit(query(**LESION), ready="#kn-continued")
    assert "multiplied by 0 at" in seen.text("#kn-change")
    zero = seen.page.locator("#kn-next").inner_html()
    doubled = seen.after("#kn-next", lambda: seen.page.locator("#double").click())
    assert "multiplied by 2 at" in seen.text("#kn-change")
    assert state(seen.page)["factor"] == "2"
    seen.after("#kn-change", lambda: seen.page.locator("#factor input").fill("1"))
    rows = [row.locator("td").all_inner_texts() for row in seen.page.locator("#kn-next tbody tr").all()]
    assert all(row[3] == row[5] == "+0.00" for row in rows)  # a factor of 1 changes nothing
    assert seen.text("#kn-means").count("0.00") == 2
    seen.after("#kn-change", lambda: seen.page.locator("#off").click())
    assert seen.page.locator("#kn-next").inner_html() == zero != doubled


def test_another_random_set_changes_the_control_alone(visit):
    seen = visit(query(**LESION, factor=5), ready="#kn-continued")

    def columns() -> list[list[str]]:
        return [row.locator("td").all_inner_texts() for row in seen.page.locator("#kn-next tbody tr").all()]

    before = columns()
    seen.after("#kn-next", lambda: seen.page.locator("#draw input").fill("3"))
    after = columns()
    assert [row[:4] for row in before] == [row[:4] for row in after]
    assert [row[4] for row in before] != [row[4] for row in after]
    assert state(seen.page)["draw"] == "3"


def test_the_number_of_tokens_changes_the_continuation(visit):
    seen = visit(query(**LESION, tokens=1), ready="#kn-continued")
    short = seen.page.locator("#kn-continued .kn-text").first.inner_text()
    box = seen.page.locator("#tokens input[type=number]")
    seen.after("#kn-continued", lambda: box.fill("9"), lambda: box.press("Enter"), lambda: box.blur())
    long = seen.page.locator("#kn-continued .kn-text").first.inner_text()
    assert len(long) > len(short)
    assert state(seen.page)["tokens"] == "9"


def test_the_neurons_of_a_tag_are_listed(visit):
    seen = visit(query(view="neurons", tag="VERB"), ready="#kn-neurons")
    names = seen.page.locator("#kn-neurons tbody tr td:nth-child(2)").all_inner_texts()
    assert len(names) == 3
    assert seen.text("#kn-neuron-shown") == names[0]
    assert seen.page.locator(".kn-sentence").count() >= 1
    seen.after("#kn-neuron-shown", lambda: choose(seen.page, "neuron", names[1]))
    assert seen.page.locator("tr.kn-chosen td:nth-child(2)").inner_text() == names[1]
    assert state(seen.page)["neuron"] == names[1]


def test_an_address_shows_the_same_to_another_visitor(visit, explored):
    seen = visit(query(**LESION), ready="#kn-continued")
    seen.after(
        "#kn-next",
        lambda: seen.page.locator("#text textarea").fill("she hears\nthe cat & the moon"),
        lambda: seen.page.locator("#show").click(),
    )
    seen.after("#kn-change", lambda: seen.page.locator("#double").click())
    seen.after("#kn-change", lambda: choose(seen.page, "tag", "VERB"))
    seen.until(lambda: "key neurons of VERB are multiplied by 2" in seen.text("#effect"))
    seen.page.wait_for_load_state("networkidle")
    other = visit("?" + urlsplit(seen.page.url).query, ready="#kn-continued")
    assert other.text("#effect") == seen.text("#effect")
    assert other.text("#kn-continued") == seen.text("#kn-continued")
    assert other.page.locator("#text textarea").input_value() == "she hears\nthe cat & the moon"
    assert other.page.get_by_role("tab", name="Lesion").get_attribute("aria-selected") == "true"


def test_the_text_of_the_address_is_read_whatever_the_order_of_the_first_events(visit):
    for _ in range(3):
        seen = visit(query(text="she hears"))
        seen.page.wait_for_load_state("networkidle")
        seen.until(lambda seen=seen: seen.words("#kn-read") == ["she", "hears"])
        seen.page.wait_for_timeout(1000)
        assert seen.words("#kn-read") == ["she", "hears"]


def test_tabs_are_in_the_address(visit):
    seen = visit()
    seen.page.get_by_role("tab", name="Neurons").click()
    seen.page.wait_for_selector("#kn-neurons")
    assert state(seen.page)["view"] == "neurons"


@pytest.mark.parametrize("view", ["lesion", "neurons"])
def test_a_page_opened_at_a_view_asks_for_no_other(browser, explored, view):
    """The first tab, selected when a page opens, once came after the view of the address."""
    asked = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: asked.append(request) if "queue/join" in request.url else None)
    page.goto(f"{explored.address}/{query(view=view, text='the dog')}")
    page.wait_for_selector({"lesion": "#kn-continued", "neurons": "#neurons table"}[view])
    states = [data for data in (request.post_data_json["data"] for request in asked) if data]
    context.close()
    assert states
    assert {data[-1] for data in states} == {view}


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({"tag": "<b>X"}, "The address has tag=<b>X; shown is NOUN."),
        ({"factor": "many"}, "The address has factor=many; shown is 0."),
        ({"run": "none"}, "The address has run=none; shown is"),
        ({"neuron": "mlp.9.9"}, "The address has neuron=mlp.9.9; shown is mlp.2."),
    ],
    ids=["tag", "factor", "run", "neuron"],
)
def test_illegal_values_in_the_address_are_reported(visit, values, note):
    assert note in visit(query(**values)).text("#notes")


ODD = {
    "empty": ("", "Type a sentence."),
    "spaces": ("  \n \t ", "Type a sentence."),
    "emoji": ("the \U0001f469\u200d\U0001f4bb \u2764\ufe0f cat \U0001f44d\U0001f3fd", None),
    "right to left": ("\u05d4\u05db\u05dc\u05d1 \u05e8\u05e5 \u0627\u0644\u0642\u0637\u0629", None),
    "long": ("the dog runs " * 770, "Only the first 600 of 10,0"),
    "script": ("<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>bold</b>", None),
    "template": ("${alert(3)} {{7*7}} {% raw %} `x`", None),
    "controls": ("a\x01b\u2028c\u202ed", None),
    "lines": ("a\n" * 30, "Only the first 8 of 30 lines are read."),
}


@pytest.mark.parametrize("view", ["read", "lesion"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_text_harms_nothing(visit, odd, view):
    text, note = ODD[odd]
    gloss, answer = {"read": ("#kn-read", "#reading"), "lesion": ("#kn-surprisal", "#effect")}[view]
    seen = visit(query(view=view, text="the dog"), ready=gloss)
    box, show = seen.page.locator("#text textarea"), seen.page.locator("#show")
    box.fill(text)
    show.click()
    if note is not None:
        seen.until(lambda: note in seen.text(answer))
    else:
        kept = "".join(c for c in text if not c.isspace() and c != "\x01")
        seen.until(lambda: "".join(seen.words(gloss)) == kept)
    assert seen.page.locator(f"{answer} script, {answer} img, {answer} .kn-lines b").count() == 0
    box.fill("she runs")
    show.click()
    seen.until(lambda: seen.page.locator(gloss).count() == 1 and seen.words(gloss) == ["she", "runs"])


def test_an_illegal_factor_is_a_message(visit):
    seen = visit(query(**LESION), ready="#kn-continued")
    factor = seen.page.locator("#factor input")
    for text, note in {
        "1000": "The factor must be a number from -100 to 100, got 1000.0.",
        "": "The factor must be a number, got none.",
        "3": "multiplied by 3 at",
    }.items():
        factor.fill(text)
        seen.until(lambda note=note: note in seen.text("#effect"))


def test_other_hosts_are_refused(explored):
    import http.client

    connection = http.client.HTTPConnection(urlsplit(explored.address).netloc)
    connection.request("GET", "/", headers={"Host": "example.org"})
    assert connection.getresponse().status == 400
    connection = http.client.HTTPConnection(urlsplit(explored.address).netloc)
    connection.request("GET", "/")
    policy = connection.getresponse().headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
