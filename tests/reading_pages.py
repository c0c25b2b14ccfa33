"""An HTML page as a browser parses it: elements, text, and sentences with their words' tooltips."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "input", "line", "rect", "path"}


@dataclass
class Sentence:
    """A sentence's text, and text, classes and tooltip of each word."""

    text: str = ""
    words: list[tuple[str, str, str]] = field(default_factory=list)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[tuple[str, dict[str, str]]] = []
        self.told = ""
        self.sentences: list[Sentence] = []
        self.cells: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], "elements that are never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        if "data-roving" in given:
            self.sentences.append(Sentence())
        if "data-tooltip" in given:
            self.sentences[-1].words.append(("", given.get("class", ""), given["data-tooltip"]))
        if tag in {"td", "th"}:
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open[-1][0] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data: str) -> None:
        inside = {tag for tag, _ in self.open}
        if "script" in inside:
            self.scripts[-1] += data
            return
        if "style" in inside:
            return
        self.told += data
        if inside & {"td", "th"}:
            self.cells[-1] += data
        if any("data-roving" in given for _, given in self.open):
            self.sentences[-1].text += data
        if "data-tooltip" in (self.open[-1][1] if self.open else {}):
            text, classes, told = self.sentences[-1].words[-1]
            self.sentences[-1].words[-1] = (text + data, classes, told)

    @property
    def policy(self) -> dict[str, str]:
        [policy] = [g["content"] for _, g in self.elements if g.get("http-equiv") == "Content-Security-Policy"]
        return dict(part.strip().split(" ", 1) for part in policy.split(";"))

    def check_that_it_loads_and_runs_nothing(self) -> None:
        """Check that the page has one known script, no inline handlers and no external links."""
        [script] = self.scripts
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert self.policy["script-src"] == f"'sha256-{digest}'"
        assert self.policy["default-src"] == "'none'"
        assert set(self.policy) <= {
            "default-src", "img-src", "style-src", "script-src", "base-uri", "form-action",
        }  # fmt: skip
        assert (self.policy["img-src"], self.policy["style-src"]) == ("data:", "'unsafe-inline'")
        tags = {tag for tag, _ in self.elements}
        assert not tags & {"link", "iframe", "object", "embed", "base", "form", "video", "audio"}
        for tag, given in self.elements:
            assert not [name for name in given if name.startswith("on")], (tag, given)
            for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert given.get(name, "#").startswith(("#", "data:")), (tag, given)
        styles = self.html[self.html.index("<style>") : self.html.index("</style>")]
        assert "url(" not in styles
        assert "@import" not in styles
