"""Asks the issuer anew, while a session goes on, whether its user still has the role."""

from __future__ import annotations

import structlog

from satchel.console.desk import Desk
from satchel.errors import Denied, IssuerUnreachable, Refused
from satchel.identity.secrets import open_sealed, seal
from satchel.provisioning.console import Session

_REFRESH = b"console refresh"
log = structlog.get_logger()


async def prove_anew(desk: Desk, session: Session) -> Session | None:
    """The session with what its user may now; None where it has ended.

    One request of several does it; an issuer that does not answer is asked again a little later, as long as the
    session lives at all.
    """
    if session.sealed_refresh is None or desk.by_issuer is None:
        await desk.sessions.end(session)
        return None
    if not await desk.sessions.claim(session):
        return session
    try:
        refresh = open_sealed(desk.keys.all, session.sealed_refresh, _REFRESH).decode()
        tokens = await desk.by_issuer.flow.refresh(refresh)
        caller = await desk.by_issuer.rules.caller(tokens.access_token)
    except IssuerUnreachable as error:
        log.warning("issuer not reached, a session goes on for now", by=session.caller.name, reason=error.message)
        return session
    except (Denied, Refused) as error:
        log.info("administrator's session ended", by=session.caller.name, reason=error.message)
        await desk.sessions.end(session)
        return None
    await desk.sessions.note_proved(session, caller, sealed_refresh(desk, tokens.refresh_token))
    return Session(session.token_hash, caller, must_be_proved=False, sealed_refresh=None)


def sealed_refresh(desk: Desk, refresh_token: str | None) -> bytes | None:
    """A refresh token as it is kept."""
    return seal(desk.keys.newest, refresh_token.encode(), _REFRESH) if refresh_token else None
