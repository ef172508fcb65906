"""What is told on the page after a change: carried by a cookie that one page shows, and then is gone."""

from __future__ import annotations

from litestar.response import Redirect

from satchel.console import cookies
from satchel.console.desk import AnyRequest

_MAX_CHARACTERS = 800
_SECONDS = 60


def said(to: str, words: str) -> Redirect:
    """Go on to a page of ours that says this."""
    answer = Redirect(to, status_code=303)
    answer.set_cookie(cookies.made(cookies.SAID, cookies.packed(words[:_MAX_CHARACTERS].encode()), _SECONDS, "strict"))
    return answer


def words_of(request: AnyRequest) -> str:
    """What the page is to say; nothing where it cannot be read."""
    try:
        return cookies.unpacked(cookies.read(request, cookies.SAID)).decode()
    except ValueError:
        return ""
