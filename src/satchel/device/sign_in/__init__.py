"""Signing in on a device: at the issuer by browser or code, and proving it anew as long as the issuer agrees."""

from __future__ import annotations

import sys
import webbrowser

from satchel.device.sign_in.browser import by_browser
from satchel.device.sign_in.code import CodePrompt, by_code
from satchel.device.sign_in.issuer import Grant, IssuerClient


def ask_by_browser(client: IssuerClient) -> Grant:
    """Open the browser and wait until the user is back."""
    return by_browser(client, webbrowser.open)


def ask_by_code(client: IssuerClient) -> Grant:
    """Say on stderr which code is to be entered where, and wait."""

    def show(prompt: CodePrompt) -> None:
        print(f"Open {prompt.verification_uri} and enter {prompt.user_code}", file=sys.stderr)

    return by_code(client, show)


__all__ = ["CodePrompt", "Grant", "IssuerClient", "ask_by_browser", "ask_by_code", "by_browser", "by_code"]
