"""Templates become pages; whatever is put into one is escaped."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from markupsafe import Markup

from satchel import __version__
from satchel.administration.doctor.finding import ago
from satchel.console import cookies
from satchel.console.desk import Visit
from satchel.console.forms import FORM_KEY, address

_FOLDER = Path(__file__).with_name("templates")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What is not seen, or turns the writing's direction round: a text must not look like another one."""
Page = Response[str]


def page(template: str, visit: Visit | None, /, *, http_status: int = 200, **values: Any) -> Page:
    """A template with these values, for this administrator."""
    text = _environment.get_template(template).render(visit=visit, now=datetime.now(UTC), **values)
    answer = Response(text, status_code=http_status, media_type="text/html; charset=utf-8")
    if visit is not None and visit.said:
        answer.set_cookie(cookies.gone(cookies.SAID))
    return answer


def visible(value: object) -> object:
    """What a template prints: nothing for None; of a text, all that is in it.

    What a form sends back goes through the filter `e` first, so that it comes back as it was.
    """
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return value


def moment(value: datetime | None, now: datetime, empty: str = "never") -> Markup | str:
    """A time as ISO 8601 and as how long ago."""
    if value is None:
        return empty
    at = value.astimezone(UTC)
    seconds = (now - at).total_seconds()
    words = "just now" if abs(seconds) < 1 else f"{ago(seconds)} ago" if seconds > 0 else f"in {ago(-seconds)}"
    return Markup('<time datetime="{}">{} <small>({})</small></time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), words
    )


def number(value: float | None) -> str:
    """With separators; nothing for None."""
    return "" if value is None else f"{value:,.0f}"


def size(value: float) -> str:
    """Bytes for people."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= one:
            return f"{value / one:,.1f} {unit}"
    return f"{value:,.0f} B"


def plain(value: object) -> str:
    """A value of a row as text."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _made() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"moment": moment, "number": number, "size": size, "plain": plain}
    made.globals |= {"version": __version__, "form_key_name": FORM_KEY, "address": address}
    return made


_environment = _made()
