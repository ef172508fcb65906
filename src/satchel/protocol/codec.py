"""Writing the lines of a sync answer. Rows and keys come as ready-made JSON text and are joined, not decoded."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from satchel.model.client_model import ClientModel
from satchel.model.edits import Outcome
from satchel.protocol.images import PackedImage, pack_image, unpack_image
from satchel.protocol.messages import Begin, End, Line

_ENCODER = msgspec.json.Encoder()


def begin_line(begin: Begin) -> bytes:
    """First line of an answer."""
    return _line(Line(begin=begin))


def model_line(model: ClientModel) -> bytes:
    """The client model, when the device has another."""
    return _line(Line(model=model))


def wipe_line(entities: Sequence[str]) -> bytes:
    """Entities whose rows the device drops, all of them."""
    return _line(Line(wipe=list(entities)))


def outcome_line(outcome: Outcome) -> bytes:
    """What became of an edit set of this device."""
    return _line(Line(outcome=outcome))


def cursor_line(cursor: str) -> bytes:
    """A resume point."""
    return _line(Line(cursor=cursor))


def end_line(end: End) -> bytes:
    """The copy is complete."""
    return _line(Line(end=end))


def put_line(entity: str, columns: Sequence[str], rows: Sequence[str]) -> bytes:
    """Rows as JSON arrays (or several, joined by commas) in the order of `columns`."""
    head = b'{"put":' + _ENCODER.encode(entity) + b',"columns":' + _ENCODER.encode(list(columns)) + b',"rows":['
    return head + ",".join(rows).encode() + b"]}\n"


def image_line(entity: str, columns: Sequence[str], rows: int, image: bytes) -> bytes:
    """An image's line, and the image behind it, packed."""
    packed = pack_image(image)
    size = len(packed.content)
    line = Line(image=entity, columns=list(columns), count=rows, size=size, guids=packed.guids, mark=packed.mark)
    return _line(line) + packed.content


def image_of(line: Line) -> bytes:
    """The image of a line that came with its content. Errors: ValueError."""
    return unpack_image(PackedImage(line.guids, line.mark, line.content))


def loaded_line(entity: str) -> bytes:
    """An entity is loaded: everything of it was sent."""
    return _line(Line(loaded=entity))


def remove_line(entity: str, keys: Sequence[str]) -> bytes:
    """Keys as JSON values, or arrays for a composite key."""
    return b'{"remove":' + _ENCODER.encode(entity) + b',"keys":[' + ",".join(keys).encode() + b"]}\n"


def _line(line: Line) -> bytes:
    return _ENCODER.encode(line) + b"\n"
