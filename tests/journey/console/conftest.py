"""A sample organization, an issuer, and a Satchel whose console administrators open in a real browser."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.contract.issuer.fixture import TENANT, RunningIssuer, running_issuer
from tests.journey.sign_in.conftest import documented
from tests.support.free_ports import free_port
from tests.support.planted import new_secret
from tests.support.processes import Sandbox, Satchel, sandbox, satchel, wait_for

PROOF_SECONDS = 2.0
ROLE = {"roles": ["Satchel.Administrator"]}


class Console:
    """The console that runs, as a browser and as a program see it."""

    def __init__(self, running: Satchel, port: int) -> None:
        self.satchel = running
        self.url = f"https://localhost:{port}"
        self._trusted = ssl.create_default_context(cafile=str(running.folder / "tls" / "ca.pem"))

    def client(self, cookies: dict[str, str] | None = None) -> httpx.Client:
        """A program with these cookies."""
        return httpx.Client(base_url=self.url, verify=self._trusted, cookies=cookies, timeout=30)

    def is_ready(self) -> bool:
        """It answers."""
        try:
            with self.client() as client:
                return client.get("/health/ready").is_success
        except (httpx.HTTPError, OSError):
            return False


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 1000) as running:
        yield running


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def application(port: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The console, as the issuer knows it."""
    secret = tmp_path_factory.mktemp("console") / "secret"
    secret.write_text(new_secret())
    return {"id": "satchel-console", "secretFile": str(secret), "back": f"https://localhost:{port}/sign-in/back"}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory, application: dict[str, str]) -> Iterator[RunningIssuer]:
    accounts: dict[str, Any] = {
        name: {"oid": f"object-{name}", "tid": TENANT, "preferred_username": f"{name}@contoso.example"}
        for name in ("ann", "grace", "linus")
    }
    accounts["grace"] |= ROLE
    accounts["linus"] |= ROLE
    folder = tmp_path_factory.mktemp("issuer")
    with running_issuer(folder, accounts=accounts, console=application) as running:
        yield running


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    source: Sandbox,
    issuer: RunningIssuer,
    application: dict[str, str],
    port: int,
) -> Iterator[Satchel]:
    folder = tmp_path_factory.mktemp("satchel") / "data"
    folder.mkdir()
    (folder / "satchel.toml").write_text(documented(issuer.url))
    settings = {
        "SATCHEL_CONSOLE__PORT": str(port),
        "SATCHEL_CONSOLE__CLIENT_ID": application["id"],
        "SATCHEL_CONSOLE__CLIENT_SECRET_FILE": application["secretFile"],
        "SATCHEL_CONSOLE__SCOPES": "openid offline_access access",
        "SATCHEL_CONSOLE__PROOF_MINUTES": str(PROOF_SECONDS / 60),
        "SATCHEL_TELEMETRY__FLUSH_SECONDS": "0.5",
    }
    with satchel(folder, **settings) as started:
        started.add(source)
        yield started


@pytest.fixture(scope="module")
def console(running: Satchel, port: int) -> Console:
    found = Console(running, port)
    wait_for(found.is_ready, "the console")
    return found


Visit = Callable[[], Page]


@pytest.fixture(scope="module")
def visit(chromium: Browser) -> Iterator[Visit]:
    """Tabs of browsers that were never here. The development CA is no authority of the browser's."""
    contexts: list[BrowserContext] = []

    def open_tab() -> Page:
        context = chromium.new_context(ignore_https_errors=True)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        return page

    yield open_tab
    for context in contexts:
        context.close()


def sign_in(page: Page, console: Console, account: str) -> None:
    """Through the issuer's pages, to wherever that leads."""
    page.goto(console.url)
    page.get_by_role("link", name="Sign in").click()
    page.get_by_placeholder("Enter any login").fill(account)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(re.compile(re.escape(console.url)))


@pytest.fixture(scope="module")
def grace(visit: Visit, console: Console) -> Page:
    """An administrator who has signed in."""
    page = visit()
    sign_in(page, console, "grace")
    return page


def cookies_of(page: Page) -> dict[str, str]:
    """What the browser would send."""
    return {str(each["name"]): str(each["value"]) for each in page.context.cookies()}
