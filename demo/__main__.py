"""The whole story in one terminal: provision, pull, two devices, no network, changes, and how long each took."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from satchel.device import Device
from tests.support.processes import EXAMPLE_PROFILE, Sandbox, Satchel, sandbox, wait_for

ROWS = 20_000
ORGANIZATION = "contoso"
SCOPES = {"account": ("unit",), "contact": ("own", "team"), "incident": ("own", "team"), "task": ("own",)}
console = Console(highlight=False)


class Story:
    """Tells what happens and keeps the times."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float, str]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """One step: its title, its duration, and what came of it."""
        console.print(f"\n[bold cyan]{len(self.times) + 1}. {title}[/bold cyan]")
        result: list[str] = []
        began = time.monotonic()
        with console.status("working ..."):
            yield result
        seconds = time.monotonic() - began
        self.times.append((title, seconds, "; ".join(result)))
        for line in result:
            console.print(f"   {line}")
        console.print(f"   [dim]{seconds:.1f} s[/dim]")

    def summary(self) -> None:
        """All steps in one table."""
        table = Table(title="\nWhat happened", title_justify="left", box=None, header_style="bold")
        for name in ("step", "seconds", "result"):
            table.add_column(name, justify="right" if name == "seconds" else "left", overflow="fold")
        for title, seconds, result in self.times:
            table.add_row(title, f"{seconds:.1f}", result)
        console.print(table)


def expected_keys(source: Sandbox, user: str, entity: str) -> set[str]:
    """What the source itself says this user may take offline."""
    keys: set[str] = set()
    for scope in SCOPES[entity]:
        keys |= source.visible(user, entity, scope)
    return keys


def held_keys(device: Device, entity: str) -> set[str]:
    """What the device has."""
    key = device.model.entity_by_name[entity].key[0]
    return {row[key] for row in device.sql(f'select "{key}" from "{entity}"')}  # noqa: S608 - a name of the model


def compare(source: Sandbox, devices: dict[str, Device], users: dict[str, str]) -> bool:
    """Counts side by side with the source's own answer; False where a key differs."""
    table = Table(box=None, header_style="bold")
    for heading in ("", *(f"{name}: {what}" for name in devices for what in ("source", "device"))):
        table.add_column(heading, justify="right" if heading else "left")
    is_equal = True
    for entity in SCOPES:
        cells = []
        for name, device in devices.items():
            expected, held = expected_keys(source, users[name], entity), held_keys(device, entity)
            is_equal = is_equal and expected == held
            cells += [f"{len(expected):,}", f"{len(held):,}"]
        table.add_row(entity, *cells)
    console.print(table)
    console.print("   [green]equal, key for key[/green]" if is_equal else "   [red]NOT equal[/red]")
    return is_equal


def tell(stack: ExitStack, folder: Path, story: Story) -> bool:
    """The story; True where everything was as it should be."""
    with story.step(f"A sample organization: a Dataverse-shaped OData service with {ROWS:,} rows") as result:
        source = stack.enter_context(sandbox(folder, ROWS))
        result.append(f"{source.url}/api/data/v9.2/")
    with story.step("Satchel starts: embedded PostgreSQL, provisioning, worker, sync server") as result:
        satchel = Satchel(folder / "data", {})
        satchel.start()
        stack.callback(satchel.stop)
        result.append(f"sync endpoint https://localhost:{satchel.sync_port} (TLS, development certificate authority)")
    with story.step(
        f"The organization {ORGANIZATION} is provisioned and pulled (profile {EXAMPLE_PROFILE.name})"
    ) as result:
        satchel.add(source, ORGANIZATION)
        entities = satchel.json("org", "show", ORGANIZATION)["entities"]
        result.append(f"{sum(e['rows'] for e in entities):,} rows staged, changes found by {entities[0]['strategy']}")
    users = {user["name"]: user["id"] for user in source.users[:2]}
    devices: dict[str, Device] = {}
    with story.step("Two people enroll a device and download their part, over TLS, into encrypted SQLite") as result:
        for number, (name, user) in enumerate(users.items()):
            place = folder / f"device{number}"
            (folder / "key").write_text("a key that lies elsewhere")
            from satchel.device import DeviceKey

            key = DeviceKey.from_file(folder / "key")
            devices[name] = stack.enter_context(Device.enroll(satchel.invite(user), place, key=key))
            report = devices[name].sync()
            rate = report.rows_put / max(report.duration_seconds, 1e-9)
            result.append(f"{name}: {report.rows_put:,} rows, {report.bytes_received / 1e6:.2f} MB, {rate:,.0f} rows/s")
    is_good = compare(source, devices, users)
    with story.step("The network is gone: every service is stopped, the devices answer") as result:
        satchel.stop()
        for name, device in devices.items():
            top = device.sql("select name, creditlimit from account order by creditlimit desc limit 1")
            result.append(
                f"{name}: best account {top[0]['name']}, credit {top[0]['creditlimit']:,.2f}" if top else name
            )
        with devices[next(iter(users))].edit() as changes:
            account = changes.create("account", name="Made offline")
            made = changes.create("contact", lastname="Offline", parentcustomerid=("account", account))
        result.append("and an account with a contact is made while there is no network")
        satchel.start()
    first, second = users
    with story.step("The network is back: what was made offline reaches the source under the user's name") as result:
        report = devices[first].sync()
        row = source.send("GET", f"contacts({made})").json()
        is_good = is_good and row["_createdby_value"] == users[first] and row["_parentcustomerid_value"] == account
        result.append(f"{report.edits_settled}; created by {first}: {row['_createdby_value'] == users[first]}")
    with story.step("The source changes: updates, deletions, new rows - and a contact changes hands") as result:
        counts = source.mutate(300, seed=7)
        contact = sorted(held_keys(devices[first], "contact") & expected_keys(source, users[first], "contact"))[0]
        source.send("PATCH", f"contacts({contact})", json={"ownerid@odata.bind": f"/systemusers({users[second]})"})
        result.append(f"{counts}; one contact from {first} to {second}")
    with story.step("The devices catch up") as result:
        satchel.run("org", "pull", ORGANIZATION, "--wait")
        for name, device in devices.items():
            report = device.sync()
            result.append(
                f"{name}: {report.rows_put:,} put, {report.rows_removed:,} removed, {report.bytes_received:,} bytes"
            )
        wait_for(lambda: devices[second].sync() and contact in held_keys(devices[second], "contact"), "the contact")
    return compare(source, devices, users) and is_good


def main() -> int:
    """Run the story; leaves nothing running and nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="satchel-demo-"))
    story = Story()
    try:
        with ExitStack() as stack:
            is_good = tell(stack, folder, story)
        story.summary()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not is_good:
        console.print("\n[red]A device differs from what the source says.[/red]")
        return 1
    console.print(
        "\nTry next: [bold]make up[/bold] in one terminal, [bold].venv/bin/satchel sandbox[/bold] in another, and"
    )
    console.print("[bold].venv/bin/satchel org add --help[/bold]; docs/tutorial/ten-minutes.md leads the way.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
