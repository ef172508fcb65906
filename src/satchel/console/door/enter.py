"""Coming in and going: at the issuer, by a one-time link, and out again."""

from __future__ import annotations

import hmac
import re
import secrets
import time

import msgspec
import structlog
from litestar import Controller, get, post
from litestar.response import Redirect

from satchel.console import cookies
from satchel.console.desk import AnyRequest, Desk, Visit, noted
from satchel.console.door.guard import find_visit
from satchel.console.door.proof import sealed_refresh
from satchel.console.forms import Form, address, read_form, read_query
from satchel.console.render import Page, page
from satchel.errors import NotEntitled, Refused, SignInRefused
from satchel.identity.secrets import open_sealed, seal
from satchel.identity.sign_in import PERMISSIONS, READ, Caller

BY_LINK = "command line"
"""Who came by a link: whoever may run `satchel` on this machine."""
_FLOW_SECONDS = 600
_FLOW = b"console sign-in"
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
_CODE = re.compile(r"[a-z_]{1,40}")
log = structlog.get_logger()
_REASONS = {
    "access_denied": "You cancelled the sign-in, or access was not granted.",
    "server_error": "The issuer cannot answer now.",
    "temporarily_unavailable": "The issuer cannot answer now.",
}


class Where(Form, frozen=True, kw_only=True):
    """Where to go on afterwards."""

    to: str = "/"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the issuer sends the browser back with; it may add more."""

    code: str = ""
    state: str = ""
    iss: str = ""
    error: str = ""


class Link(Form, frozen=True, kw_only=True):
    """A one-time link."""

    code: str = ""


class _Flow(msgspec.Struct, frozen=True):
    """What the browser keeps, sealed, while it is at the issuer."""

    state: str
    verifier: str
    to: str
    ends_at: float


class EnterController(Controller):
    """Open to all; each proves what it needs."""

    @get("/sign-in")
    async def choose(self, request: AnyRequest, desk: Desk) -> Page | Redirect:
        """How to come in here."""
        to = local(read_query(request, Where).to)
        if await find_visit(desk, request) is not None:
            return _go(to)
        return page("sign-in.html", None, begin=address("/sign-in/begin", to=to), desk=desk)

    @get("/sign-in/begin")
    async def begin(self, request: AnyRequest, desk: Desk) -> Redirect:
        """To the issuer."""
        if desk.by_issuer is None:
            raise SignInRefused("Nobody signs in at an issuer here.", hint="Use a link: satchel console open.")
        state, verifier = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        flow = _Flow(state, verifier, local(read_query(request, Where).to), time.time() + _FLOW_SECONDS)
        sealed = seal(desk.keys.newest, msgspec.json.encode(flow), _FLOW)
        answer = _go(await desk.by_issuer.flow.address(flow.state, flow.verifier))
        answer.set_cookie(cookies.made(cookies.FLOW, cookies.packed(sealed), _FLOW_SECONDS))
        return answer

    @get("/sign-in/back")
    async def back(self, request: AnyRequest, desk: Desk) -> Redirect:
        """From the issuer, with a code."""
        if desk.by_issuer is None:
            raise SignInRefused("Nobody signs in at an issuer here.")
        flow = _flow_of(desk, request)
        code = await _code_of(desk, request, flow)
        tokens = await desk.by_issuer.flow.exchange(code, flow.verifier)
        try:
            caller = await desk.by_issuer.rules.caller(tokens.access_token)
            caller.require(READ)
        except NotEntitled as error:
            log.info("not an administrator", reason=error.message)
            hint = "Ask for the role of an administrator, then sign in again. " + error.hint
            raise NotEntitled("You signed in, but you are not an administrator of Satchel.", hint=hint) from error
        proof_seconds = desk.sessions.lifetimes.proof_seconds
        refresh = sealed_refresh(desk, tokens.refresh_token)
        token = await desk.sessions.begin(caller, proof_seconds=proof_seconds, sealed_refresh=refresh)
        return _entered(caller, token, flow.to, "issuer")

    @get("/open")
    async def link(self, request: AnyRequest) -> Page:
        """A link was opened. Looking at it uses nothing up: previews and scanners follow links too."""
        return page("open.html", None, code=read_query(request, Link).code)

    @post("/open", status_code=303)
    async def use_link(self, request: AnyRequest, desk: Desk) -> Redirect:
        """Use a link, once."""
        form = await read_form(request, Link)
        if not 0 < len(form.code) <= 100 or not await desk.sessions.use_link(form.code):
            raise SignInRefused(
                "This link cannot be used: it is too old, or it was used before.",
                hint="Make another one: satchel console open",
            )
        caller = Caller(BY_LINK, PERMISSIONS)
        token = await desk.sessions.begin(caller, proof_seconds=desk.sessions.lifetimes.session_seconds)
        return _entered(caller, token, "/", "link")

    @post("/sign-out", status_code=303)
    async def leave(self, desk: Desk, visit: Visit) -> Redirect:
        """End the session, here and for whoever may have its cookie."""
        with noted(visit, "sign out"):
            await desk.sessions.end(visit.session)
        answer = _go("/sign-in")
        answer.set_cookie(cookies.gone(cookies.SESSION))
        return answer


def local(to: str) -> str:
    """A path of ours, whatever was asked for."""
    return to if _LOCAL.fullmatch(to) and not to.startswith(("/sign-in", "/open", "/sign-out")) else "/"


def _entered(caller: Caller, token: str, to: str, how: str) -> Redirect:
    log.info("administrator", what="sign in", by=caller.name, outcome="done", how=how)
    answer = _go(to)
    answer.set_cookie(cookies.made(cookies.SESSION, token))
    answer.set_cookie(cookies.gone(cookies.FLOW))
    return answer


def _flow_of(desk: Desk, request: AnyRequest) -> _Flow:
    try:
        sealed = cookies.unpacked(cookies.read(request, cookies.FLOW))
        flow = msgspec.json.decode(open_sealed(desk.keys.all, sealed, _FLOW), type=_Flow)
    except (Refused, ValueError, msgspec.MsgspecError) as error:
        raise _begin_again() from error
    if flow.ends_at < time.time():
        raise _begin_again()
    return flow


async def _code_of(desk: Desk, request: AnyRequest, flow: _Flow) -> str:
    """The code, if the answer belongs to this browser's sign-in. Errors: SignInRefused."""
    assert desk.by_issuer is not None  # noqa: S101 - the caller looked
    given = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
    answer = msgspec.convert(given, Answer)
    if not hmac.compare_digest(answer.state.encode(), flow.state.encode()):
        raise _begin_again()
    issuer = (await desk.by_issuer.flow.issuer.discovery()).issuer
    if answer.iss and answer.iss != issuer and "{" not in issuer:
        raise SignInRefused("The answer came from another issuer.")
    if not answer.code:
        known = answer.error if _CODE.fullmatch(answer.error) else "no reason"
        words = _REASONS.get(known, "The issuer refused the sign-in.").removesuffix(".")
        raise SignInRefused(f"{words} ({known}).")
    return answer.code


def _begin_again() -> SignInRefused:
    return SignInRefused(
        "This sign-in was not begun in this browser, or took too long.", hint="Begin it again at the console."
    )


def _go(to: str) -> Redirect:
    return Redirect(to, status_code=303)
