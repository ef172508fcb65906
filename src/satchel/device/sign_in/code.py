"""Signing in for a machine without a browser: a short code, entered on any other device. Source: RFC 8628."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from satchel.device.sign_in.issuer import Grant, IssuerClient, OAuthProblem
from satchel.device.sign_in.refusals import refusal
from satchel.errors import IssuerUnreachable, SignInRefused
from satchel.model.openid import is_safe_address

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL_SECONDS = 5.0
SLOWER_SECONDS = 5.0
LONGEST_SECONDS = 1800.0


class CodePrompt(msgspec.Struct, frozen=True):
    """What the user is to do."""

    verification_uri: str
    """To be opened in a browser, on any device."""
    user_code: str
    """To be entered there."""
    expires_in_seconds: float


class _Answer(msgspec.Struct):
    device_code: str
    user_code: str
    verification_uri: str = ""
    expires_in: float = 600.0
    interval: float = DEFAULT_INTERVAL_SECONDS


def by_code(
    client: IssuerClient, show: Callable[[CodePrompt], object], pause: Callable[[float], object] = time.sleep
) -> Grant:
    """Have the user sign in elsewhere; `show` tells them how. Errors: SignInRefused, IssuerUnreachable."""
    url = client.discovery.device_authorization_endpoint
    if not is_safe_address(url):
        raise SignInRefused("This issuer knows no codes for devices.", hint="Sign in with a browser.")
    try:
        answer: _Answer = client.post(url, {"scope": client.options.scopes}, _Answer)
    except OAuthProblem as problem:
        raise refusal(problem.code, problem.description) from problem
    lifetime = min(answer.expires_in, LONGEST_SECONDS)
    show(CodePrompt(answer.verification_uri, answer.user_code, lifetime))
    return _ask_until_answered(client, answer, time.monotonic() + lifetime, pause)


def _ask_until_answered(
    client: IssuerClient, answer: _Answer, deadline: float, pause: Callable[[float], object]
) -> Grant:
    form = {"grant_type": DEVICE_GRANT, "device_code": answer.device_code}
    interval = max(1.0, answer.interval)
    while time.monotonic() < deadline:
        pause(interval)
        try:
            return client.grant(form)
        except OAuthProblem as problem:
            if problem.code == "slow_down":
                interval += SLOWER_SECONDS
            elif problem.code != "authorization_pending":
                raise refusal(problem.code, problem.description) from problem
        except IssuerUnreachable:
            interval = min(60.0, interval * 2)
    raise SignInRefused("Nobody entered the code in time.", hint="Run the command again.")
