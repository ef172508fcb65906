"""What the pages work with, and who is looking."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import structlog
from litestar import Request

from satchel.administration.console import ByIssuer
from satchel.assembly import Rooms
from satchel.errors import SatchelError, SignInNeeded
from satchel.identity.keys import PurposeKeys
from satchel.identity.sign_in import PROVISION, Caller
from satchel.provisioning.console import ConsoleSessions, Session

AnyRequest = Request[object, object, object]  # type: ignore[type-var]
log = structlog.get_logger()


class Desk(msgspec.Struct, frozen=True):
    """What the pages work with."""

    rooms: Rooms
    sessions: ConsoleSessions
    by_issuer: ByIssuer | None
    """None: by links only."""
    keys: PurposeKeys
    """Seal what a browser keeps while it is at the issuer, and refresh tokens."""
    title: str
    """Which installation this is."""


class Visit(msgspec.Struct, frozen=True):
    """One administrator's request."""

    session: Session
    token: str
    path: str
    said: str = ""
    """What the change before it led to."""

    def __repr__(self) -> str:
        return f"Visit({self.caller.name!r})"

    @property
    def caller(self) -> Caller:
        """Who it is, and what they may."""
        return self.session.caller

    @property
    def may_change(self) -> bool:
        """They may do more than look."""
        return PROVISION in self.caller.permissions

    @property
    def form_key(self) -> str:
        """What each form of this session carries: nobody else's page can know it."""
        return hmac.new(self.token.encode(), b"satchel console form", hashlib.sha256).hexdigest()


def visit_of(request: AnyRequest) -> Visit:
    """Whose request it is. Errors: SignInNeeded - a page that is open to all asked for it."""
    visit = request.scope["state"].get("visit")
    if not isinstance(visit, Visit):
        raise SignInNeeded("You are not signed in.")
    return visit


@contextmanager
def noted(visit: Visit, what: str, **facts: object) -> Iterator[None]:
    """Log who changed what, and how it ended; facts are names and numbers, never content of rows."""
    outcome = "failed"
    try:
        yield
        outcome = "done"
    except SatchelError as error:
        outcome = f"refused {error.code}"
        raise
    finally:
        log.info("administrator", what=what, by=visit.caller.name, outcome=outcome, **facts)
