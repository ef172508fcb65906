"""Before any page: who is it, may they, and did the form come from a page of ours? After it: what browsers may do."""

from __future__ import annotations

import hmac

from litestar import Response

from satchel.console import cookies
from satchel.console.desk import AnyRequest, Desk, Visit
from satchel.console.door.proof import prove_anew
from satchel.console.forms import FORM_KEY, fields_of
from satchel.console.said import words_of
from satchel.errors import NotEntitled, RequestRefused, SignInNeeded
from satchel.identity.sign_in import PROVISION, READ

OPEN = frozenset({"/sign-in", "/sign-in/begin", "/sign-in/back", "/open", "/console.css", "/icon.svg"})
"""Paths without a session; all others need one."""
_HEALTH = "/health/"
_SAFE = frozenset({"GET", "HEAD"})
_MAX_TOKEN_CHARACTERS = 200

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` browsers would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


async def guard(request: AnyRequest) -> None:
    """Let a request in, or not. Errors: SignInNeeded, NotEntitled, RequestRefused."""
    path, is_change = request.scope["path"], request.method not in _SAFE
    if is_change:
        refuse_foreign(request)
    if path in OPEN or path.startswith(_HEALTH):
        return
    desk: Desk = request.app.state.desk
    visit = await find_visit(desk, request)
    if visit is None:
        raise SignInNeeded("You are not signed in, or your session has ended.")
    request.scope["state"]["visit"] = visit
    if is_change:
        await _require_own_form(request, visit)
    visit.caller.require(READ)
    if is_change and path != "/sign-out" and PROVISION not in visit.caller.permissions:
        raise NotEntitled(f"You may look, but not change anything: that takes the permission {PROVISION}.")


async def find_visit(desk: Desk, request: AnyRequest) -> Visit | None:
    """The administrator whose session the cookie names; proved anew where that is due."""
    token = cookies.read(request, cookies.SESSION)
    if not 0 < len(token) <= _MAX_TOKEN_CHARACTERS:
        return None
    session = await desk.sessions.find(token)
    if session is not None and session.must_be_proved:
        session = await prove_anew(desk, session)
    return Visit(session, token, request.scope["path"], words_of(request)) if session is not None else None


def refuse_foreign(request: AnyRequest) -> None:
    """A form is taken only where the browser does not say that another site's page sent it. Errors: RequestRefused."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    is_ours = origin is None or origin == f"https://{request.headers.get('host', '')}"
    if not is_ours or site not in {None, "same-origin", "none"}:
        raise RequestRefused("This form was sent by another site's page.", hint="Open the console itself.")


def add_headers(response: Response[object]) -> Response[object]:
    """What browsers may do with an answer."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _require_own_form(request: AnyRequest, visit: Visit) -> None:
    given = [value for name, value in await fields_of(request) if name == FORM_KEY]
    if len(given) != 1 or not hmac.compare_digest(given[0].encode(), visit.form_key.encode()):
        raise RequestRefused(
            "This form does not belong to your session.", hint="Open the page again, and send it anew."
        )
