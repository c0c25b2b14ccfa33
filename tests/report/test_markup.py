"""Escaped Markdown displays text literally, checked with a Markdown parser."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from keyneurons.report.markup import block, inline, table

TEXTS = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=30
) | st.text("ab1 \\`*_{}[]()<>#+-.!~=|:&$@\"'/", min_size=1, max_size=30)
ODD = [
    "<script>alert(1)</script>", "<b>x</b>", "&lt;", "&#60;", "**a**", "__a__", "_a_", "a_b_c", "`a`", "[a](http://b.c)",
    "![a](b)", "a|b", "\\|", "\\", "~~a~~", "# a", "- a", "+ a", "1. a", "1) a", "===", "---", "> a", "http://a.b", "<http://a.b>",
    "www.a.b", ":smile:", "@name", "$x$", "WP$", "a\nb", "    a", "| a |", "*", "a**", "***", "=", "a#",
]  # fmt: skip


def shown(markdown: str) -> str:
    """Rendered text, with a mark for elements other than tables, lists, headings, paragraphs."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page = parser.render(markdown)
    page = re.sub(r"</?(table|thead|tbody|tr|th|td|ul|li|h3|p)>|\n", "\x00", page)
    return re.sub("\x00+", "\x00", page).strip("\x00")


def written(text: str) -> str:
    return html.escape(" ".join(re.split(r"\s*\n\s*", text)).strip(), quote=False).replace('"', "&quot;")


def check(text: str) -> None:
    if not text.strip():
        return
    assert shown(f"a {inline(text.strip())} b") == f"a {written(text)} b"
    assert shown(f"**{inline(f'a {text} b')}**").removeprefix("<strong>a ").removesuffix(
        " b</strong>"
    ).strip() == written(text)
    assert shown(f"### {block(text)}") == written(text)
    assert shown(f"- {block(text)}\n- b") == f"{written(text)}\x00b"
    page = shown("\n".join(table(["tag", text], [[text, "-0.750"]])))
    assert page == f"tag\x00{written(text)}\x00{written(text)}\x00-0.750"


@pytest.mark.parametrize("text", ODD)
def test_odd_text(text: str) -> None:
    check(text)
    assert not re.search(r"<|>|\n|\|", inline(text))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(TEXTS)
def test_any_text(text: str) -> None:
    check(text)


def test_ordinary_text_stays_as_it_is() -> None:
    for text in (
        "NOUN",
        "-0.750",
        "accuracy 0.9 (std 0.020, 20 sets), p = 0.048.",
        "HuggingFaceTB/SmolLM2-135M",
        "l1_probe",
    ):
        assert inline(text) == text
