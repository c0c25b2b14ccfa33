"""Self-contained HTML pages: packaged templates, everything inline, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPT = "page.js"


def render(template: str, **values: object) -> str:
    """A page of a packaged template.

    Args:
        template: its file name under ``report/templates/``; it extends ``base.html``.
        **values: what it shows; all text is escaped, and a name that it uses and does not get is an error.

    Returns:
        The page.
    """
    return _environment().get_template(template).render(**values)


def data_uri(png: Path) -> str:
    """A PNG file as an address that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode('ascii')}"


@cache
def _environment() -> Environment:
    """Where the templates are, with the one script that the pages' policy allows, and its digest for that policy."""
    loader = PackageLoader("keyneurons.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script, _, _ = loader.get_source(environment, SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment.globals |= {"script": Markup(script), "script_digest": f"sha256-{digest}"}
    return environment
