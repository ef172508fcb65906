"""An issuer's refusal in words that a person can act on; its own words are not repeated, only its codes.

Source: RFC 6749, sections 4.1.2.1 and 5.2; RFC 8628, section 3.5; OpenID Connect Core 1.0, section 3.1.2.6.
"""

from __future__ import annotations

import re

from satchel.errors import IssuerUnreachable, SatchelError, SignInRefused

_ASK_ADMINISTRATOR = "Tell your administrator: the application for devices is not registered as it should be."
_START_AGAIN = "Start the sign-in again."
_SAID = {
    "access_denied": (
        "You cancelled the sign-in, or access was not granted.",
        "Start it again and agree; where your organization must agree first, ask your administrator.",
    ),
    "consent_required": ("Your organization has not agreed to this application yet.", "Ask your administrator."),
    "interaction_required": ("The issuer wants to ask you something first.", _START_AGAIN),
    "login_required": ("You are not signed in at the issuer.", _START_AGAIN),
    "expired_token": ("Nobody entered the code in time.", _START_AGAIN),
    "invalid_grant": ("The sign-in took too long, or its answer was used already.", _START_AGAIN),
    **dict.fromkeys(
        ("invalid_client", "invalid_request", "invalid_scope", "invalid_target", "unauthorized_client",
         "unsupported_grant_type", "unsupported_response_type"),
        ("The issuer does not take this application's request.", _ASK_ADMINISTRATOR),
    ),
}  # fmt: skip
_AWAY = {"server_error", "temporarily_unavailable"}
_CODE = re.compile(r"[a-z_]{1,40}")
_ENTRA_CODE = re.compile(r"\AAADSTS\d{3,10}")


def reason(code: str) -> str:
    """What it means, for the browser's page; nothing of it comes from outside."""
    if code in _AWAY:
        return "The issuer cannot answer now."
    return _SAID[code][0] if code in _SAID else "The issuer refused the sign-in."


def refusal(code: str, description: str = "") -> SatchelError:
    """The error to raise: SignInRefused, or IssuerUnreachable where it is to be tried again.

    Of `description` only Entra's number is kept (`AADSTS50105`), by which an administrator finds the cause."""
    number = _ENTRA_CODE.match(description)
    known = code if _CODE.fullmatch(code) else "no reason"
    message = f"{reason(code).removesuffix('.')} ({known}{f', {number[0]}' if number else ''})."
    if code in _AWAY:
        return IssuerUnreachable(message)
    return SignInRefused(message, hint=_SAID[code][1] if code in _SAID else "")
