"""One HTML file that needs nothing beside it: templates, style and script put together.

Jinja2 escapes all that comes from the corpus; what is markup already (charts) says so by its type. The page forbids
itself, by a Content-Security-Policy, every address but its own data and every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from imlkd.files import atomic_write_text

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill ``template`` (a name below ``templates/``) and write it atomically."""
    atomic_write_text(path, filled(template, **content))


def filled(template: str, **content: Any) -> str:
    """The page as text; StrictUndefined: a name that a template asks for in vain is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline';"
        f" script-src 'sha256-{digest}'"
    )
    page = environment.get_template(template)
    return page.render(style=Markup(style), script=Markup(script), policy=Markup(policy), **content)
