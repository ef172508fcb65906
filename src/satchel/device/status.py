"""How a device stands, for a person and for programs."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from satchel.device.edits import outbox
from satchel.device.folder import DeviceFolder
from satchel.device.lease import read_lease
from satchel.device.schema import stage
from satchel.device.sign_in.kept import read_kept
from satchel.device.store import Enrolment, Store
from satchel.protocol.images import quoted


class TableStatus(msgspec.Struct, frozen=True):
    """One table."""

    name: str
    label: str
    rows: int
    is_complete: bool
    """All rows came once; False while its first load goes on."""
    columns: dict[str, str]
    """Type of the attribute by column."""


class DeviceStatus(msgspec.Struct, frozen=True):
    """The device as a whole."""

    organization: str
    user: str
    server: str
    device_id: str
    folder: str
    is_encrypted: bool
    last_sync: str | None
    """ISO 8601, UTC."""
    last_error: str | None
    checkpoint: int | None
    is_complete: bool
    """A first sync came to its end."""
    lease_ends: str | None
    """When the offline lease ends or has ended, ISO 8601, UTC."""
    is_locked: bool
    """The offline lease has ended: nothing can be read until a sync succeeds."""
    signed_in_until: str | None
    """So long a sync needs no new sign-in (the issuer may extend it without one), ISO 8601, UTC; None: by a link."""
    pending: dict[str, int]
    """Edit sets that are not at the source, by state (`SetState`)."""
    size_bytes: int
    tables: list[TableStatus]


def read_status(
    store: Store, folder: DeviceFolder, enrolment: Enrolment, *, is_encrypted: bool, is_locked: bool
) -> DeviceStatus:
    """Read the status. Cost: one count a table."""
    lease, kept = read_lease(store), read_kept(store)
    checkpoint = store.get("checkpoint")
    files = [folder.database, folder.database.with_name(folder.database.name + "-wal")]
    return DeviceStatus(
        organization=enrolment.organization,
        user=enrolment.user_name,
        server=enrolment.server_url,
        device_id=enrolment.device_id,
        folder=str(folder.path),
        is_encrypted=is_encrypted,
        last_sync=store.get("last_sync"),
        last_error=store.get("last_error"),
        checkpoint=int(checkpoint) if checkpoint else None,
        is_complete=checkpoint is not None,
        lease_ends=lease.ends if lease else None,
        is_locked=is_locked,
        signed_in_until=_moment(kept.valid_until) if kept and not kept.is_ended else None,
        pending=outbox.counts(store.connection),
        size_bytes=sum(file.stat().st_size for file in files if file.exists()),
        tables=[_table(store, entity.name) for entity in store.model.entities],
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _table(store: Store, name: str) -> TableStatus:
    entity = store.model.entity_by_name[name]
    rows = 0
    for (count,) in store.connection.execute(f"select count(*) from {quoted(name)}"):
        rows = int(count)
    is_complete = stage(store.connection, name) is None
    return TableStatus(name, entity.label, rows, is_complete, {a.name: a.type.value for a in entity.attributes})
