"""The documentation site builds without a warning, and its pages have the signatures they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCES = re.compile(r"^::: (keyneurons[\w.]*)", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; broken links, missing anchors and pages outside the navigation are errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(folder),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_reference_has_a_heading_and_a_docstring(site: Path) -> None:
    references = [
        (site / page.relative_to(ROOT / "docs").with_suffix("") / "index.html", name)
        for page in (ROOT / "docs").rglob("*.md")
        for name in REFERENCES.findall(page.read_text("utf-8"))
        if name != "keyneurons"
    ]
    assert len(references) > 15
    for page, name in references:
        _, heading, after = page.read_text("utf-8").partition(f'id="{name}" class="doc doc-heading"')
        assert heading, f"{name} has no heading"
        assert re.search(r'class="doc doc-contents[^"]*">.{0,4000}?<p>\w', after, re.DOTALL), f"{name} has no docstring"


def test_the_python_page_documents_every_public_name(site: Path) -> None:
    import keyneurons

    html = (site / "python_api" / "index.html").read_text("utf-8")
    missing = [name for name in keyneurons.__all__ if name != "__version__" and f'id="keyneurons.{name}"' not in html]
    assert missing == []


def test_no_page_asks_another_server(site: Path) -> None:
    loaded = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"')
    asked = {address for page in site.rglob("*.html") for address in loaded.findall(page.read_text("utf-8"))}
    assert {address for address in asked if 'rel="canonical"' not in address} == set()
