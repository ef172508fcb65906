"""Signing in as people do: a real browser, the provider's own pages, and back to the command that waits for it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from satchel.errors import SignInRefused
from tests.contract.issuer.fixture import RunningIssuer
from tests.support import planted
from tests.support.processes import Sandbox, Satchel

pytestmark = pytest.mark.node


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab of a browser that was never here."""
    context = chromium.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


class Command:
    """`satchel device sign-in`, which waits for the browser."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "key").write_text("phone")
        command = [sys.executable, "-m", "satchel", "device", "sign-in", *arguments]
        command += ["--json", "--folder", str(folder / "device"), "--key-file", str(folder / "key")]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def told(self, pattern: str) -> re.Match[str]:
        """What it says to the person at the terminal."""
        assert self.child.stderr is not None
        said = ""
        while line := self.child.stderr.readline():
            said += line
            if found := re.search(pattern, said):
                return found
        raise AssertionError(f"it did not say {pattern}: {said}")

    def end(self) -> tuple[int, str, str]:
        """Exit status, output, errors."""
        printed, errors = self.child.communicate(timeout=30)
        planted.check_output(printed + errors, "satchel device sign-in")
        return self.child.returncode, printed, errors


@pytest.fixture
def command(link: str, tmp_path: Path) -> Iterator[Command]:
    """It told an address to open."""
    running = Command(tmp_path, link, "--no-browser")
    yield running
    running.child.kill()
    running.child.communicate()


def sign_in(page: Page, account: str) -> None:
    """The provider's page for name and password."""
    page.get_by_placeholder("Enter any login").fill(account)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()


def agree(page: Page) -> None:
    """The provider's page that asks for consent."""
    page.get_by_role("button", name="Continue").click()


def shown(page: Page) -> str:
    """The page at the end, which is ours: what it says to the person."""
    page.wait_for_url(re.compile(r"^http://localhost:\d+/?\?"))
    return page.inner_text("body")


def test_a_person_signs_in_and_the_page_says_how_to_go_on(page: Page, command: Command, source: Sandbox) -> None:
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(command.told(r"http\S+")[0])
    sign_in(page, "ann")
    agree(page)

    text = shown(page)

    assert "You signed in" in text
    assert "You can close this page" in text
    assert page.title() == "Satchel"
    assert "code=" not in text
    assert troubles == []
    status, printed, errors = command.end()
    assert status == 0, errors
    assert json.loads(printed)["user"] == source.users[0]["name"]


@pytest.mark.parametrize("agrees_first", [False, True], ids=["at the sign-in", "at the question"])
def test_who_cancels_reads_why_on_the_page_and_in_the_terminal(
    page: Page, command: Command, tmp_path: Path, agrees_first: bool
) -> None:
    page.goto(command.told(r"http\S+")[0])
    if agrees_first:
        sign_in(page, "ann")
        page.get_by_role("button", name="Continue").wait_for()
    page.get_by_role("link", name="Cancel").click()

    text = shown(page)

    assert "You are not signed in" in text
    assert "You cancelled the sign-in, or access was not granted." in text
    status, printed, errors = command.end()
    assert (status, printed) == (2, "")
    assert "You cancelled the sign-in, or access was not granted (access_denied)." in errors
    assert "ask your administrator" in errors
    assert SignInRefused.code in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "device" / "device.json").exists()


def test_who_is_unknown_at_the_source_is_not_told_that_all_is_well(page: Page, command: Command) -> None:
    page.goto(command.told(r"http\S+")[0])
    sign_in(page, "eve")
    agree(page)

    assert "says there how it ends" in shown(page)
    status, _, errors = command.end()
    assert status == 2
    assert "no user for this sign-in" in errors


def test_who_gives_up_at_the_terminal_is_let_go(page: Page, command: Command) -> None:
    page.goto(command.told(r"http\S+")[0])
    command.child.send_signal(signal.SIGINT)

    status, _, errors = command.end()

    assert status == 1
    assert "Stopped." in errors
    assert "Traceback" not in errors


def test_a_code_is_entered_in_the_browser_of_another_machine(
    page: Page, running: Satchel, source: Sandbox, issuer: RunningIssuer, tmp_path: Path
) -> None:
    ca_file = str(running.folder / "tls" / "ca.pem")
    server = f"localhost:{running.sync_port}"
    command = Command(tmp_path, server, "--org", "contoso", "--ca-file", ca_file, "--device-code")
    told = command.told(r"Open (\S+) .* enter (\S+)")
    page.goto(told[1])
    page.locator("input[name=user_code]").fill(told[2])
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Continue").click()
    sign_in(page, "bob")
    agree(page)
    page.get_by_text("Sign-in Success").wait_for()

    status, printed, errors = command.end()

    assert status == 0, errors
    assert json.loads(printed)["user"] == source.users[1]["name"]
