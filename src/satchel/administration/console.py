"""How administrators come into the console: by an issuer, or by a one-time link of the command line."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from satchel.assembly import Rooms
from satchel.errors import SettingInvalid
from satchel.identity.code_flow import CodeFlow
from satchel.identity.sign_in import SignIn, sign_in_of
from satchel.provisioning.console import ConsoleSessions, Lifetimes
from satchel.settings.schema import Settings


class ByIssuer(msgspec.Struct, frozen=True):
    """How administrators sign in at an issuer."""

    rules: SignIn
    """Who counts there: the very rules of the management endpoint."""
    flow: CodeFlow


def console_sessions(rooms: Rooms) -> ConsoleSessions:
    """The register of sessions."""
    own = rooms.settings.console
    lifetimes = Lifetimes(own.session_hours * 3600, own.idle_minutes * 60, own.proof_minutes * 60)
    return ConsoleSessions(rooms.control, lifetimes)


def console_url(settings: Settings) -> str:
    """The address administrators use. Errors: SettingInvalid."""
    own = settings.console
    url = own.public_url or f"https://localhost:{own.port}"
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
        raise SettingInvalid("[console] public_url must be an https address without a path.")
    return url.rstrip("/")


def console_issuer(settings: Settings) -> ByIssuer | None:
    """The issuer that administrators sign in at; None where there is none. Errors: SettingInvalid."""
    own, sign_in = settings.console, settings.sign_in
    if not own.client_id:
        return None
    rules = sign_in_of(sign_in)
    if rules is None or rules.takes_id_tokens or not sign_in.administrators:
        raise SettingInvalid(
            "[console] client_id needs [sign_in] issuer, audience and administrators.",
            hint="Without them administrators come in by `satchel console open`: leave client_id empty.",
        )
    flow = CodeFlow(
        issuer=rules.issuer,
        client_id=own.client_id,
        client_secret=_secret(own.client_secret_file),
        scopes=own.scopes,
        redirect_uri=f"{console_url(settings)}/sign-in/back",
        resource=sign_in.resource,
    )
    return ByIssuer(rules, flow)


async def open_link(rooms: Rooms) -> str:
    """A link that begins one session at the console, for whoever may run commands here. Errors: SettingInvalid."""
    if not rooms.settings.console.port:
        raise SettingInvalid("[console] port is 0: no console runs here.")
    url = console_url(rooms.settings)
    code = await console_sessions(rooms).make_link(rooms.settings.console.link_minutes * 60)
    return f"{url}/open?code={code}"


def _secret(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid("[console] client_secret_file cannot be read.") from error
