"""One step of a download: what it sees, what it comes to, and rows as lines of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from satchel.database.pool import Connection
from satchel.model.client_model import ClientEntity
from satchel.model.scope import Scope
from satchel.protocol import codec
from satchel.staging.head import Head
from satchel.staging.render import render_keys, render_rows
from satchel.sync.binding import UserScope
from satchel.sync.cursor import CursorState
from satchel.sync.images import Part
from satchel.telemetry.request import note_rows

KEYS_PER_LINE = 2000
NO_IMAGE: dict[str, Any] = {"image": 0, "image_frame": 0, "image_bucket": 0, "image_op": 0, "imaged": b""}
"""What a cursor says where no image is under way."""


class StepLimits(msgspec.Struct, frozen=True):
    """How much one step sends."""

    rows_per_step: int
    rows_per_line: int
    frames_per_step: int = 16
    image_rows: int = 0
    """Of entities with at least so many rows, images of the columns in use are asked for; 0: never."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a device, and the user behind it."""

    user_id: str
    device_id: str


class View(msgspec.Struct, frozen=True):
    """What one snapshot says: where the organization stands and what this user may have."""

    connection: Connection
    head: Head
    scope: Scope
    user: UserScope
    device_id: str
    limits: StepLimits
    has_images: bool
    """The device takes images, and this process has them."""


class Step(msgspec.Struct):
    """What one step came to: the state behind its lines, and frames that follow them."""

    state: CursorState
    lines: list[bytes]
    is_end: bool = False
    frames: list[Part] = []
    asks: list[ClientEntity] = []
    """Columns for which there should be images."""


async def put_lines(view: View, rows: Iterable[tuple[str, int]]) -> list[bytes]:
    lines: list[bytes] = []
    for name, row_ids in _by_entity(rows).items():
        client = view.user.client_model.entity_by_name.get(name)
        if client is None:
            continue
        columns = [attribute.name for attribute in client.attributes]
        entity = view.scope.entity_by_name[name]
        note_rows(len(row_ids))
        rendered = await render_rows(view.connection, entity, columns, row_ids, rows_per_line=view.limits.rows_per_line)
        lines += [codec.put_line(name, columns, [text]) for _, text in rendered]
    return lines


async def remove_lines(view: View, rows: Iterable[tuple[str, int]]) -> list[bytes]:
    """Keys to drop. An entity that is no longer offered needs none: the device drops it with the client model."""
    lines: list[bytes] = []
    for name, row_ids in _by_entity(rows).items():
        if name not in view.user.client_model.entity_by_name:
            continue
        keys = await render_keys(view.connection, view.scope.entity_by_name[name], row_ids)
        lines += [codec.remove_line(name, keys[i : i + KEYS_PER_LINE]) for i in range(0, len(keys), KEYS_PER_LINE)]
    return lines


def _by_entity(rows: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for entity, row_id in rows:
        grouped.setdefault(entity, []).append(row_id)
    return grouped
