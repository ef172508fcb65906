"""`satchel device sign-in` and `sign-out`: enroll by signing in, sign in again, end it."""

from __future__ import annotations

import sys
import warnings
import webbrowser
from pathlib import Path

import click
from rich.markup import escape

from satchel.cli.device_options import device_key, folder_options, with_device
from satchel.cli.options import json_option
from satchel.cli.output import console, print_json
from satchel.device import Device
from satchel.device.sign_in import CodePrompt, Grant, IssuerClient, by_browser, by_code


@click.command("sign-in")
@click.argument("server", required=False)
@click.option("--org", "organization", help="The organization's name, where the link does not say it.")
@click.option("--device-code", is_flag=True, help="For a machine without a browser: enter a code on another one.")
@click.option("--no-browser", is_flag=True, help="Only print the address to open in a browser of this machine.")
@click.option(
    "--ca-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Certificates to trust (PEM)."
)
@click.option("--name", default="", help="What administrators see.")
@click.option("--no-encryption", is_flag=True, help="Leave encryption to the operating system.")
@folder_options
@json_option
def command(
    server: str | None,
    organization: str | None,
    device_code: bool,
    no_browser: bool,
    ca_file: Path | None,
    name: str,
    no_encryption: bool,
    folder: Path | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Enroll this device by signing in at your organization; on an enrolled one, sign in again.

    SERVER is the address or the line that your administrator gave you; an enrolled device knows it.

    \b
    satchel device sign-in https://satchel.contoso.com --org contoso
    satchel device sign-in satchel.contoso.com --org contoso --device-code
    """

    def ask(client: IssuerClient) -> Grant:
        if device_code:
            return by_code(client, _show_code)
        return by_browser(client, _print_address if no_browser else _open_browser)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        device = Device.sign_in(
            server, organization, folder, ask=ask, name=name, ca_pem=ca_file.read_text("ascii") if ca_file else None,
            key=device_key(key_file, passphrase_file), is_encrypted=not no_encryption,
        )  # fmt: skip
    for warning in caught:
        print(f"Note: {warning.message}", file=sys.stderr)
    with device:
        if as_json:
            print_json(device.status())
        else:
            who = device.enrolment
            name = escape(who.user_name)
            console.print(f"Signed in as [bold]{name}[/bold] at {who.organization}. Next: satchel device sync")


@click.command("sign-out")
@with_device
@json_option
def sign_out(device: Device, as_json: bool) -> None:
    """End the sign-in on this device. What it holds stays, edits wait until somebody signs in again."""
    problems = device.sign_out()
    if as_json:
        print_json({"signed_out": True, "problems": problems})
        return
    for problem in problems:
        print(f"Note: {problem}", file=sys.stderr)
    console.print("Signed out. What this device holds stays here. To go on: satchel device sign-in")


def _show_code(prompt: CodePrompt) -> None:
    print(f"Open {prompt.verification_uri} on any device and enter {prompt.user_code}", file=sys.stderr, flush=True)


def _open_browser(url: str) -> None:
    if webbrowser.open(url):
        print("Sign in in your browser; this waits for you.", file=sys.stderr, flush=True)
    else:
        _print_address(url)


def _print_address(url: str) -> None:
    print(f"Open this address in a browser of this machine:\n{url}", file=sys.stderr, flush=True)
