"""A folder becomes a device: registered at the server, its database made, and described at last."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from satchel.device.folder import Description, DeviceFolder
from satchel.device.key import CIPHER, DeviceKey, given_key, make_key
from satchel.device.sign_in.kept import KeptSignIn, write_kept
from satchel.device.store import Enrolment, Store
from satchel.device.wipe import erase
from satchel.errors import DeviceExists

Register = Callable[[], tuple[Enrolment, KeptSignIn | None]]
"""Registers the device at the server, by a link or by signing in."""


def enroll_in(
    place: DeviceFolder, register: Register, key: DeviceKey | None, *, is_encrypted: bool
) -> DeviceKey | None:
    """Register and make the database; returns the key that opens it. Without `key`: the one in the environment, else
    one is made and kept. Errors: DeviceExists, DataFolderUnusable, whatever `register` raises."""
    place.make()
    with place.lock():
        if place.wiped.exists():
            erase(place)
        if place.is_enrolled:
            raise DeviceExists(f"{place.path} holds an enrolled device already.")
        enrolment, kept = register()
        place.wiped.unlink(missing_ok=True)
        chosen = None if not is_encrypted else key or given_key() or make_key(place)
        _keep(place, enrolment, kept, chosen)
    return chosen


def _keep(place: DeviceFolder, enrolment: Enrolment, kept: KeptSignIn | None, key: DeviceKey | None) -> None:
    """Make the database. The description comes last: with it the device counts as enrolled."""
    place.remove_database()  # of an enrolment that was broken off before its end
    store = Store(place.database, key)
    with store.transaction():
        store.set("enrolment", msgspec.json.encode(enrolment).decode())
    if kept is not None:
        write_kept(store, kept)
    store.close()
    place.write_description(Description(CIPHER if key else None, key.source if key else "none"))
