"""Images: rows of one entity as a small SQLite database, in the very form in which a device's table keeps them.

A device copies its records as they are (`insert into ... select * from ...` between tables of one shape), without
decoding a value. Both sides take table and values from here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from satchel.model.client_model import EXACT_DIGITS, ClientAttribute, ClientEntity, is_decimal, is_narrow
from satchel.model.metadata import AttributeType, digest_of

IMAGE_MEDIA_TYPE = "application/vnd.satchel.images"
"""In `Accept`: the client takes images. As the answer's type: there may be images in it."""
IMAGE_TABLE = "image"
IMAGE_FORM = 2
"""Rises when the same rows become another image."""
_SQLITE_TYPE = {
    AttributeType.INTEGER: "INTEGER",
    AttributeType.BIGINT: "INTEGER",
    AttributeType.CHOICE: "INTEGER",
    AttributeType.BOOLEAN: "BOOLEAN",
    AttributeType.DOUBLE: "REAL",
}


_GUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_GUID_BYTES, _GUID_CHARACTERS = 16, 36
_DIGITS = [place for place in range(_GUID_CHARACTERS) if place not in {8, 13, 18, 23}]
_MARKS = [bytes(pair) for pair in itertools.permutations(range(0xF5, 0x100), 2)]  # none of them in valid text


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def column_type(attribute: ClientAttribute) -> str:
    """The declared type of a column. A wide decimal's has none, so that SQLite leaves each value as `stored` says."""
    if is_decimal(attribute):
        return "DECIMAL" if is_narrow(attribute) else ""
    return _SQLITE_TYPE.get(attribute.type, "TEXT")


def stored(attribute: ClientAttribute, place: int) -> str:
    """How the parameter at `place` is stored.

    A wide decimal is a number where a double or a 64-bit integer keeps it exactly - in practice always, so that SQL
    compares and sums it - and text beyond. Sixteen characters without the sign are fifteen digits and a point.
    """
    if not is_decimal(attribute) or is_narrow(attribute):
        return f"?{place}"
    fits = f"length(ltrim(?{place}, '-')) <= {EXACT_DIGITS + 1} and ?{place} not glob '*[^-.0-9]*'"
    return f"case when {fits} then cast(?{place} as numeric) else ?{place} end"


def key_matches(entity: ClientEntity) -> str:
    """The condition for the row whose key is bound to the first parameters."""
    attributes = {a.name: a for a in entity.attributes}
    return " and ".join(f"{quoted(name)} = {stored(attributes[name], at)}" for at, name in enumerate(entity.key, 1))


def create_table(entity: ClientEntity, name: str) -> str:
    """The statement that makes a table in the form of the entity, without its key and indexes."""
    columns = [
        f"{quoted(a.name)} {column_type(a)}{' not null' if a.name in entity.key else ''}" for a in entity.attributes
    ]
    return f"create table {quoted(name)} ({', '.join(columns)})"


def projection_digest(entity: ClientEntity) -> str:
    """A hash that is equal where rows have the same image."""
    return digest_of([IMAGE_FORM, entity.key, [(a.name, a.type, a.precision, a.scale) for a in entity.attributes]])


def make_image(entity: ClientEntity, rows: Iterable[Sequence[Any]]) -> bytes:
    """The image of these rows, in wire values in the order of the entity's attributes."""
    with apsw.Connection(":memory:") as connection:
        connection.execute(create_table(entity, IMAGE_TABLE))
        values = ", ".join(stored(attribute, place) for place, attribute in enumerate(entity.attributes, 1))
        connection.executemany(f"insert into {IMAGE_TABLE} values ({values})", rows)  # noqa: S608 - bound
    content = connection.serialize("main")
    connection.close()
    return content


def image_without(entity: ClientEntity, image: bytes, keys: Iterable[Sequence[Any]]) -> tuple[int, bytes]:
    """The image without the rows of these keys: how many are left, and a new image, made without what went."""
    connection = apsw.Connection(":memory:")
    connection.execute("attach ':memory:' as old")
    connection.deserialize("old", image)
    connection.executemany(f"delete from old.{IMAGE_TABLE} where {key_matches(entity)}", keys)  # noqa: S608 - bound
    connection.execute(create_table(entity, IMAGE_TABLE))
    connection.execute(f"insert into main.{IMAGE_TABLE} select * from old.{IMAGE_TABLE}")  # noqa: S608
    left = connection.changes()
    content = connection.serialize("main")
    connection.close()
    return left, content


class PackedImage(msgspec.Struct, frozen=True):
    """An image whose GUIDs stand apart, as 16 bytes each: what is random hardly compresses as text."""

    guids: int
    """How many; they stand in front, in the order of their places."""
    mark: str
    """Two bytes (hexadecimal) that stand in the place of each GUID and nowhere else; empty where nothing was taken."""
    content: bytes


def pack_image(image: bytes) -> PackedImage:
    """Take the GUIDs out of an image."""
    mark = next((each for each in _MARKS if each not in image), None)
    found = _GUID.findall(image)
    if mark is None or not found:
        return PackedImage(0, "", image)
    digits = b"".join(found).replace(b"-", b"").decode()
    return PackedImage(len(found), mark.hex(), bytes.fromhex(digits) + _GUID.sub(mark, image))


def unpack_image(packed: PackedImage) -> bytes:
    """Put the GUIDs back, all at once in native code. Errors: ValueError."""
    if not packed.guids:
        return packed.content
    end = packed.guids * _GUID_BYTES
    texts = _guid_texts(packed.content[:end])
    parts = packed.content[end:].split(bytes.fromhex(packed.mark))
    if len(parts) != packed.guids + 1 or len(texts) != packed.guids:
        raise ValueError("places and GUIDs do not fit")
    whole: list[bytes] = [b""] * (2 * packed.guids + 1)
    whole[0::2], whole[1::2] = parts, texts
    return b"".join(whole)


def _guid_texts(raw: bytes) -> list[bytes]:
    digits = raw.hex().encode()
    count = len(raw) // _GUID_BYTES
    texts = bytearray(b"-" * (count * _GUID_CHARACTERS))
    for at, place in enumerate(_DIGITS):
        texts[place::_GUID_CHARACTERS] = digits[at :: 2 * _GUID_BYTES]
    whole = bytes(texts)
    return [whole[start : start + _GUID_CHARACTERS] for start in range(0, len(whole), _GUID_CHARACTERS)]
