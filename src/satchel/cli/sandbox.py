"""`satchel sandbox`: a sample organization to play with."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from pathlib import Path
from typing import Any

import click
from granian.constants import Interfaces
from granian.server.embed import Server

from satchel.cli.options import json_option
from satchel.cli.output import console, print_json_line, progress
from satchel.errors import ConfigError, PortInUse
from satchel.sandbox.data.directory_rows import Directory
from satchel.sandbox.data.folder import Opened, open_organization
from satchel.sandbox.data.generate import MAX_ROWS, MIN_ROWS
from satchel.sandbox.data.store import Store
from satchel.sandbox.web.app import Sandbox
from satchel.sandbox.web.limits import Bounds, Limits
from satchel.telemetry import log as logs

EPILOG = """\b
It speaks the Dataverse Web API below /api/data/v9.2/; docs/reference/sandbox.md has more. With Satchel up:
  satchel org add contoso --source URL --token-url TOKEN_URL --client-id satchel \\
      --client-secret-file FILE --profile examples/field-service.toml
"""
_POLL_SECONDS = 0.01


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--rows", type=click.IntRange(MIN_ROWS, MAX_ROWS), default=20_000, show_default=True, help="Business rows."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and rows give the same data.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8450, show_default=True, help="0: any free port.")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Serve over TLS.")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PKCS#8 PEM.")
@click.option("--client-id", default="satchel", show_default=True)
@click.option(
    "--client-secret",
    envvar="SATCHEL_SANDBOX_CLIENT_SECRET",
    show_envvar=True,
    help="Give it in the variable: others see arguments.  [default: a random one, printed]",
)
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the organization here and go on with it."
)
@click.option("--delta-expiry", type=click.FloatRange(min=0), default=7 * 86400.0, show_default=True, help="Seconds.")
@click.option("--limits/--no-limits", default=False, show_default=True, help="Service protection limits (429).")
@click.option("--limit-requests", type=click.IntRange(min=1), default=6000, show_default=True, help="A window.")
@click.option("--limit-window", type=click.FloatRange(min=0.1), default=300.0, show_default=True, help="Seconds.")
@click.option("--limit-at-once", type=click.IntRange(min=1), default=52, show_default=True, help="Requests at once.")
@json_option
def command(
    rows: int,
    seed: int,
    host: str,
    port: int,
    client_id: str,
    client_secret: str | None,
    delta_expiry: float,
    limits: bool,
    limit_requests: int,
    limit_window: float,
    limit_at_once: int,
    folder: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
) -> None:
    """Serve a sample organization: a Dataverse-shaped OData v4 service with realistic rows, until Ctrl-C.

    It is kept in memory, or in a folder (--folder) where the next start finds it as it was left.
    """
    logs.configure("warning", "auto", "sandbox")
    port = _free_port(host, port)
    opened = _open(folder, rows, seed, is_quiet=as_json)
    store, directory = opened.store, opened.directory
    bounds = Bounds(requests=limit_requests, window_seconds=limit_window, at_once=limit_at_once)
    secret = client_secret or secrets.token_urlsafe(24)
    sandbox = Sandbox(
        store, directory.application, client_id=client_id, client_secret=secret,
        delta_expiry_seconds=delta_expiry, limits=Limits(is_on=limits, bounds=bounds),
    )  # fmt: skip
    base = f"{'https' if tls_cert else 'http'}://{host}:{port}"
    ready: dict[str, Any] = {"url": base, "token_url": f"{base}/contoso/oauth2/v2.0/token", "client_id": client_id}
    ready |= {"client_secret": secret, "users": _users(store, directory)}
    try:
        server = Server(
            sandbox, address=host, port=port, interface=Interfaces.ASGINL, ssl_cert=tls_cert, ssl_key=tls_key,
            log_enabled=False,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ConfigError(f"Certificate and key cannot be used: {error}.", hint="Give PEM files that fit.") from error
    asyncio.run(_serve(server, host, port, ready, as_json=as_json))


async def _serve(server: Server, host: str, port: int, ready: dict[str, Any], *, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.ensure_future(server.serve())
    while not serving.done() and not await asyncio.to_thread(_accepts, host, port):  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(_POLL_SECONDS)
    if serving.done():
        await serving
        raise ConfigError("The server did not start.")
    if as_json:
        print_json_line(ready)
    else:
        _print_ready(ready)
    await stop.wait()
    server.stop()  # type: ignore[no-untyped-call]
    await serving


def _open(folder: Path | None, rows: int, seed: int, *, is_quiet: bool) -> Opened:
    if is_quiet:
        return open_organization(folder, rows, seed)
    with progress() as bars:
        task = bars.add_task("making rows", total=rows, note="")
        opened = open_organization(folder, rows, seed, lambda more: bars.advance(task, more))
        bars.update(task, completed=rows)
    return opened


def _users(store: Store, directory: Directory) -> list[dict[str, str]]:
    marks = ",".join("?" * len(directory.field_users))
    found = store.rows(
        f"select systemuserid, fullname, azureactivedirectoryobjectid from systemuser where systemuserid in ({marks})",  # noqa: S608
        directory.field_users,
    )
    return [{"id": row[0], "name": row[1], "azureactivedirectoryobjectid": row[2]} for row in found]


def _print_ready(ready: dict[str, Any]) -> None:
    console.print("[bold]The sample organization is up.[/bold] Ctrl-C stops it.")
    for name in ("url", "token_url", "client_id", "client_secret"):
        console.print(f"  {name:14} {ready[name]}", soft_wrap=True)
    console.print("  users to invite")
    for user in ready["users"]:
        console.print(f"    {user['id']}  {user['name']}")
    console.print("Next, with Satchel up in another terminal: satchel org add contoso --help")


def _free_port(host: str, port: int) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(f"Port {port} on {host} cannot be used: {error.strerror}.") from error
        return int(probe.getsockname()[1])


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
