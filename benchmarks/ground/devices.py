"""Devices by the hundred: registered without a link, each where a real device stands after its first sync."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.ground.crowd import Member, Plan
from benchmarks.ground.organization import Inside, Organization
from benchmarks.ground.processes import Program, program, python
from satchel.device import Device
from satchel.sync.cursor import CursorSeal

LIFETIME_SECONDS = 3600.0


def register(inside: Inside, organization: Organization, users: Sequence[str]) -> list[tuple[str, str]]:
    """A device for each user: ids and tokens."""
    return list(inside.run(lambda: _register(inside, organization.name, users)))


async def _register(inside: Inside, name: str, users: Sequence[str]) -> list[tuple[str, str]]:
    devices = inside.rooms.devices
    known = await inside.rooms.organizations.get(name)
    made = []
    for user in users:
        code = await devices.make_code(known, user, user, lifetime_seconds=LIFETIME_SECONDS)
        device, token = await devices.enroll(name, code, "simulated")
        made.append((device.id, token))
    return made


def standing_as(
    inside: Inside, organization: Organization, folder: Path, count: int, user: str = "someone"
) -> list[Member]:
    """Devices of one user that have everything: one really syncs, the others get its cursor, sealed for them."""
    with Device.enroll(organization.invite(user), folder, is_encrypted=False) as device:
        device.sync()
        cursor, model = device._writer.get("cursor"), device.model.digest
        keys, own = inside.rooms.key.keys("cursor").all, device.enrolment.device_id
    assert cursor is not None
    state = CursorSeal(keys, organization.name, own).open(cursor)
    return [
        Member(token, CursorSeal(keys, organization.name, device_id).seal(state), model)
        for device_id, token in register(inside, organization, [user] * count)
    ]


@contextmanager
def crowd(organization: Organization, members: Sequence[Member], folder: Path) -> Iterator[Program]:
    """These devices, connected and waiting, in a process of their own."""
    running = organization.running
    plan = Plan(
        "127.0.0.1", running.sync_port, str(running.folder / "tls" / "ca.pem"), organization.name, list(members)
    )
    with program(python("benchmarks.ground.crowd"), folder / "crowd.log") as started:
        waiting = started.ask(msgspec.to_builtins(plan))
        assert waiting == {"waiting": len(members)}, json.dumps(waiting)
        yield started
