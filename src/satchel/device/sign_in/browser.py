"""Signing in with a browser on this machine: authorization code with PKCE, coming back to a loopback address.

Source: RFC 8252 (native applications), RFC 7636 (PKCE), RFC 9207 (issuer in the answer).
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from satchel.device.sign_in.issuer import Grant, IssuerClient, OAuthProblem
from satchel.device.sign_in.refusals import reason, refusal
from satchel.errors import SignInRefused

WAIT_SECONDS = 300.0
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Satchel</title>"
    "<body style='font-family: sans-serif; margin: 4em'><h1>{title}</h1><p>{text}</p>"
)


def by_browser(client: IssuerClient, show: Callable[[str], object], wait_seconds: float = WAIT_SECONDS) -> Grant:
    """Have the user sign in; `show` opens the address, or tells it. Errors: SignInRefused, IssuerUnreachable."""
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    with _listening(client.options.redirect_uri, state) as (redirect_uri, answers):
        resource = {"resource": client.options.resource} if client.options.resource else {}
        url = prepare_grant_uri(
            client.discovery.authorization_endpoint,
            client_id=client.options.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=client.options.scopes,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            **resource,
        )
        show(url)
        answer = _wait(answers, wait_seconds)
    if answer.get("iss", client.discovery.issuer) != client.discovery.issuer:
        raise SignInRefused("The answer came from another issuer.")
    if "code" not in answer:
        raise refusal(answer.get("error", ""), answer.get("error_description", ""))
    form = {"grant_type": "authorization_code", "code": answer["code"]}
    form |= {"redirect_uri": redirect_uri, "code_verifier": verifier}
    try:
        return client.grant(form, nonce)
    except OAuthProblem as problem:
        raise refusal(problem.code, problem.description) from problem


@contextmanager
def _listening(redirect_uri: str, state: str) -> Iterator[tuple[str, queue.Queue[Mapping[str, str]]]]:
    """A server on this machine only, for the one answer that carries our state."""
    parts = urlsplit(redirect_uri)
    address = "::1" if parts.hostname == "::1" else "127.0.0.1"
    answers: queue.Queue[Mapping[str, str]] = queue.Queue()

    class Handler(_Handler):
        expected = (parts.path or "/", state)
        found = answers

    server = _server_on(address, Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    host = f"[{parts.hostname}]" if parts.hostname == "::1" else parts.hostname
    try:
        yield f"{parts.scheme}://{host}:{server.server_address[1]}{parts.path}", answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _server_on(address: str, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = 10 if ":" in address else 2  # AF_INET6, AF_INET

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A browser that hangs up is no matter of ours."""

    return Server((address, 0), handler)


class _Handler(BaseHTTPRequestHandler):
    """Takes the browser's answer and says in a few words what became of it; shows nothing of what it was sent."""

    timeout = 10
    expected: ClassVar[tuple[str, str]]
    found: ClassVar[queue.Queue[Mapping[str, str]]]

    def do_GET(self) -> None:
        """The redirect."""
        parts = urlsplit(self.path)
        path, state = self.expected
        values = {name: each[0] for name, each in parse_qs(parts.query).items()}
        if (parts.path or "/") != path or not secrets.compare_digest(values.get("state", "").encode(), state.encode()):
            # Not ours: another page or program of this machine guesses. The sign-in goes on waiting.
            return self._say(400, "This is not a sign-in", "Nothing was changed.")
        try:
            self._tell(values)
        finally:
            # Only now: a command that was refused ends at once, and the page with it.
            self.found.put(values)

    def _tell(self, values: Mapping[str, str]) -> None:
        if "code" in values:
            # What the server says of this user is not known yet: the page promises nothing.
            text = "Satchel goes on where you started it, and says there how it ends. You can close this page."
            return self._say(200, "You signed in", text)
        why = reason(values.get("error", ""))
        return self._say(200, "You are not signed in", f"{why} Close this page and start again where you began.")

    def log_message(self, *_: object) -> None:
        """Nothing: the request line has the code in it."""

    def _say(self, status: int, title: str, text: str) -> None:
        body = _PAGE.format(title=title, text=text).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _wait(answers: queue.Queue[Mapping[str, str]], seconds: float) -> Mapping[str, str]:
    """The answer; in short waits, so that Ctrl-C is heard everywhere."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            return answers.get(timeout=min(0.5, left))
        except queue.Empty:
            continue
    raise SignInRefused(f"Nobody signed in within {seconds:.0f} s.", hint="Try again, or use --device-code.")
