"""Self-contained HTML pages from packaged templates, with all styles, scripts and images inline."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPT = "page.js"
PLOTLY = "plotly.min.js"
UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Script:
    """An inline script, and its digest for the security policy."""

    text: Markup
    digest: str

    @classmethod
    def of(cls, text: str) -> Script:
        """The script with this text."""
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        return cls(Markup(text), f"sha256-{digest}")


def render(template: str, *, scripts: Sequence[str] = (), **values: object) -> str:
    """Render a packaged template.

    Args:
        template: File name under ``report/templates/``: a page, which extends ``base.html``, or a
            part of one.
        scripts: Scripts besides that of every page: files under ``report/templates/``, or
            ``plotly.min.js``.
        **values: Variables of the template. All text is escaped; a missing variable is an error.

    Returns:
        The page or part as HTML.
    """
    inline = [_script(name) for name in (SCRIPT, *scripts)]
    return _environment().get_template(template).render(scripts=inline, **values)


def data_uri(png: Path) -> str:
    """Encode a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode('ascii')}"


def inline_json(value: object) -> Markup:
    """JSON for a ``script`` element of the type ``application/json``; it cannot end the element."""
    return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(UNSAFE))


@cache
def _script(name: str) -> Script:
    if name == PLOTLY:
        return Script.of(_plotly().read_text("utf-8"))
    environment = _environment()
    assert environment.loader is not None
    return Script.of(environment.loader.get_source(environment, name)[0])


def _plotly() -> Path:
    """The script in the package of Plotly, which is not imported.

    Raises:
        FileNotFoundError: If the package is missing.
    """
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package plotly is not installed")
    return Path(spec.origin).parent / "package_data" / PLOTLY


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("keyneurons.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
