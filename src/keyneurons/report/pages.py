"""Self-contained HTML pages from packaged templates, with all styles, scripts and images inline."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPT = "page.js"


def render(template: str, **values: object) -> str:
    """Render a packaged template.

    Args:
        template: File name under ``report/templates/``: a page, which extends ``base.html``, or a
            part of one.
        **values: Variables of the template. All text is escaped; a missing variable is an error.

    Returns:
        The page or part as HTML.
    """
    return _environment().get_template(template).render(**values)


def data_uri(png: Path) -> str:
    """Encode a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode('ascii')}"


@cache
def _environment() -> Environment:
    """The template environment, with the script and its digest for the security policy."""
    loader = PackageLoader("keyneurons.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script, _, _ = loader.get_source(environment, SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment.globals |= {"script": Markup(script), "script_digest": f"sha256-{digest}"}
    return environment
